"""Looking for what the network namespaces need, before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import closing

from pytest_fsmredir import procs, scratch
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import default_variant, find, search_path
from pytest_fsmredir.errors import CommandError, PreflightError
from pytest_fsmredir.implementations.base import IptablesVariant
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


def has_nat(variant: IptablesVariant) -> bool:
    """Whether a variant of iptables is installed and the kernel has its NAT table."""
    program = shutil.which(f"iptables-{variant}", path=search_path())
    if program is None:
        return False
    argv, lock = [program, "-t", "nat", "-S"], scratch.directory("lock") / "xtables.lock"
    with closing(Namespace()) as namespace:
        env = {**os.environ, "XTABLES_LOCKFILE": str(lock)}
        status, _, _ = namespace.run(lambda: procs.run_any(argv, env=env))
    return status == 0


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
