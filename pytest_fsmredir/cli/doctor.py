"""List what a default run needs on this machine, and how to install what is missing."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_fsmredir import layout
from pytest_fsmredir.backends.netns import preflight, privileges
from pytest_fsmredir.backends.netns.programs import (
    default_variant,
    find,
    iptables_version,
    search_path,
)
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.model.outcomes import IptablesVariant, Variant


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite.

    Attributes:
        what: Name of the prerequisite.
        present: Whether it is present.
        detail: What was found, or how to install it.
        required: Whether a default run needs it.
    """

    what: str
    present: bool
    detail: str
    required: bool = True

    def __str__(self) -> str:
        mark = "ok" if self.present else ("MISSING" if self.required else "-")
        return f"{mark:<8} {self.what:<31} {self.detail}"


def main() -> int:
    """Print every finding, and return 0 if a default run would work."""
    found = list(findings())
    for finding in found:
        _write(str(finding))
    missing = [finding for finding in found if finding.required and not finding.present]
    _write("not ready: see MISSING above" if missing else "ready: run pytest --fsm-conformance")
    return 1 if missing else 0


def _write(line: str) -> None:
    """Write a line; escape characters that the terminal's encoding lacks."""
    encoding = sys.stdout.encoding
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def findings() -> Iterator[Finding]:
    """Yield every prerequisite, each once."""
    yield _finding("python 3.11 or newer", lambda: sys.version.split()[0])
    yield _finding("program iptables or nft", _default)
    if os.geteuid() != 0:
        for tool in ("newuidmap", "newgidmap"):
            yield _finding(f"program {tool}", lambda tool=tool: find(tool, _UIDMAP))  # type: ignore[misc]
    privilege = _finding("network namespaces", lambda: _MADE[privileges.acquire("auto")])
    yield privilege
    if privilege.present:
        yield from _variants()
        lacking = "; ".join(preflight.undenied())
        yield Finding(
            "limits of an init container",
            present=not lacking,
            detail=lacking or "/proc/sys is read-only, capabilities and seccomp as in Kubernetes",
            required=False,
        )
    yield Finding(*_kind(), required=False)
    yield from tools()


def tools() -> Iterator[Finding]:
    """Yield the tools of other meshes that have an adapter in the package."""
    for adapter in sorted((layout.fixtures() / "adapters").glob("*.yaml")):
        path = shutil.which(adapter.stem, path=search_path())
        judge = f"pytest --fsm-conformance --fsm-options {shlex.quote(str(adapter))}"
        detail = f"{path}: {judge}" if path else "not on PATH: needed only to judge it"
        yield Finding(f"tool {adapter.stem}", path is not None, detail, required=False)


def _kind() -> tuple[str, bool, str]:
    """Return the finding about the backend kind, which a default run does not need."""

    def look() -> str:
        from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions, preflight

        preflight(KindOptions())
        return "pytest --fsm-conformance --fsm-backend kind"

    found = _finding("backend kind", look)
    return found.what, found.present, found.detail


_MADE = {"root": "made as root", "rootless": "made in a user namespace"}
_UIDMAP = "run: apt-get install uidmap (or run as root)"


def _default() -> str:
    """Return the default iptables variant of a run, in words."""
    variant = default_variant()
    alone = ": there is no iptables"
    return f"the default variant is {variant}{alone if variant is IptablesVariant.NATIVE else ''}"


def _variants() -> Iterator[Finding]:
    for kind in IptablesVariant:
        program = "nft alone" if kind is IptablesVariant.NATIVE else f"iptables-{kind}"
        for family in (4, 6):
            finding = _finding(
                f"NAT with {program}, IPv{family}",
                lambda kind=kind, family=family: _nat(kind, family),  # type: ignore[misc]
            )
            yield Finding(finding.what, finding.present, finding.detail, required=False)


def _nat(kind: IptablesVariant, family: int) -> str:
    preflight.probe([Variant("netns", kind, family)])
    return iptables_version(kind)


def _finding(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, present=True, detail=look())
    except (FsmRedirError, OSError) as error:
        return Finding(what, present=False, detail=str(error))
