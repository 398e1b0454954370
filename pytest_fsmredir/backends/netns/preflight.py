"""Looking for what the network namespaces need, before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing

from pytest_fsmredir import procs, scratch
from pytest_fsmredir.backends.netns.container import ContainerLimits
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import default_variant, find
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.outcomes import Variant

_PROGRAMS = {4: "iptables", 6: "ip6tables"}


def default_iptables(asked: str) -> str:
    """Return the variant that ``auto`` means; others are returned as they are."""
    return default_variant().value if asked == "auto" else asked


def probe(variants: Iterable[Variant]) -> None:
    """Try, in a new namespace, what every pod will need.

    Raises:
        PreflightError: The kernel or the machine lacks something.
    """
    try:
        namespace = Namespace()
    except OSError as error:
        raise PreflightError(f"cannot make a network namespace: {error}") from None
    with closing(namespace):
        for variant in sorted(set(variants)):
            program = f"{_PROGRAMS[variant.family]}-{variant.iptables}"
            if fault := _nat_fault(namespace, program):
                raise PreflightError(
                    f"this kernel has no working NAT for {program}: {fault};"
                    " leave it out with --fsm-iptables or --fsm-ip"
                )


def undenied() -> tuple[str, ...]:
    """Return what this machine cannot deny an init command that a container runtime denies it."""
    with closing(ContainerLimits()) as limits:
        return limits.lacking


def has_nat(variant: IptablesVariant) -> bool:
    """Whether a variant of iptables is installed and the kernel has its NAT table."""
    with closing(Namespace()) as namespace:
        try:
            return not _nat_fault(namespace, f"iptables-{variant}")
        except PreflightError:
            return False


def _nat_fault(namespace: Namespace, program: str) -> str:
    """Return what the program says against listing its NAT table; empty if it can.

    Raises:
        PreflightError: It is not installed.
    """
    argv = [find(program, "install it: apt-get install iptables"), "-t", "nat", "-S"]
    # Legacy iptables locks a file of the machine's, which only root may.
    env = {**os.environ, "XTABLES_LOCKFILE": str(scratch.directory("lock") / "xtables.lock")}
    status, _, stderr = namespace.run(lambda: procs.run_any(argv, env=env))
    return "" if status == 0 else stderr.strip() or f"exit status {status}"
