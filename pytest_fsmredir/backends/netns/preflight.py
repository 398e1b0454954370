"""Looking for what the network namespaces need, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import default_variant, find
from pytest_fsmredir.errors import CommandError, PreflightError
from pytest_fsmredir.outcomes import Variant

_PROGRAMS = {4: "iptables", 6: "ip6tables"}


def default_iptables(asked: str) -> str:
    """Return the variant that ``auto`` means; others are returned as they are."""
    return default_variant().value if asked == "auto" else asked


def probe(variants: Iterable[Variant]) -> None:
    """Try, in a namespace of its own, what every pod will need.

    Raises:
        PreflightError: The kernel or the machine lacks something.
    """
    try:
        namespace = Namespace()
    except OSError as error:
        raise PreflightError(f"cannot make a network namespace: {error}") from None
    try:
        for variant in sorted(set(variants)):
            _probe_nat(namespace, variant)
    finally:
        namespace.close()


def _probe_nat(namespace: Namespace, variant: Variant) -> None:
    program = f"{_PROGRAMS[variant.family]}-{variant.iptables}"
    argv = [find(program, "install it: apt-get install iptables"), "-t", "nat", "-S"]
    try:
        namespace.run(lambda: procs.run(argv))
    except CommandError as error:
        raise PreflightError(
            f"this kernel has no working NAT for {program}: {error.stderr.strip()};"
            f" leave it out with --fsm-iptables or --fsm-ip"
        ) from None
