"""Check the requirements of the netns backend before it creates anything."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from pytest_fsmredir import procs, scratch
from pytest_fsmredir.backends.netns.container import ContainerLimits
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import default_variant, iptables_version, program_of
from pytest_fsmredir.errors import FsmRedirError, PreflightError
from pytest_fsmredir.model.outcomes import IptablesVariant, Variant
from pytest_fsmredir.sidecars.pipy import pipy_version

_REDIRECTING = """\
table {family} probe {{
    chain out {{ type nat hook output priority -100; meta l4proto tcp redirect to :1; }}
}}
"""


def default_iptables(asked: str) -> str:
    """Return the variant that ``auto`` selects; other names are returned unchanged."""
    return default_variant().value if asked == "auto" else asked


def iptables_versions(variants: Iterable[Variant]) -> dict[str, str]:
    """Return the version of each iptables variant that is used on this machine.

    It is "unknown" if the program is missing or does not print one.
    """
    kinds = {variant.iptables for variant in variants if not variant.in_kubernetes}
    return {kind: _version(kind) for kind in sorted(kinds)}


def _version(kind: str) -> str:
    try:
        return iptables_version(IptablesVariant(kind))
    except (FsmRedirError, ValueError):
        return "unknown"


def probe(variants: Iterable[Variant]) -> None:
    """Test in a new namespace the kernel features that every pod needs.

    Raises:
        PreflightError: The kernel or the machine lacks a feature.
    """
    try:
        namespace = Namespace()
    except OSError as error:
        raise PreflightError(f"cannot make a network namespace: {error}") from None
    with closing(namespace):
        for variant in sorted(set(variants)):
            kind = IptablesVariant(variant.iptables)
            if fault := _nat_fault(namespace, kind, variant.family):
                program = Path(program_of(kind, variant.family)).name
                raise PreflightError(
                    f"this kernel has no working NAT for {program} and IPv{variant.family}:"
                    f" {fault}; leave it out with --fsm-iptables or --fsm-ip"
                )


def undenied() -> tuple[str, ...]:
    """Return the container restrictions that this machine cannot apply to init commands."""
    with closing(ContainerLimits()) as limits:
        return limits.lacking


def sidecar(pipy: Path | None) -> str:
    """Return the name of the sidecar, with Pipy's release; empty for the recorder.

    Raises:
        PreflightError: The program does not start, or is not Pipy.
    """
    return "" if pipy is None else pipy_version(pipy)


def has_nat(variant: IptablesVariant) -> bool:
    """Whether the program of a variant is installed and the kernel supports its NAT."""
    with closing(Namespace()) as namespace:
        try:
            return not _nat_fault(namespace, variant, 4)
        except PreflightError:
            return False


def _nat_fault(namespace: Namespace, variant: IptablesVariant, family: int) -> str:
    """Return the variant's error message when it uses NAT; empty if NAT works.

    Raises:
        PreflightError: The program is not installed.
    """
    program = program_of(variant, family)
    # By default, legacy iptables locks a file of the machine that only root can open.
    env = {**os.environ, "XTABLES_LOCKFILE": str(scratch.directory("lock") / "xtables.lock")}
    argv, stdin = [program, "-t", "nat", "-S"], ""
    if variant is IptablesVariant.NATIVE:
        argv, stdin = [program, "-f", "-"], _REDIRECTING.format(family={4: "ip", 6: "ip6"}[family])
    status, _, stderr = namespace.run(lambda: procs.run_any(argv, stdin=stdin, env=env))
    return "" if status == 0 else stderr.strip() or f"exit status {status}"
