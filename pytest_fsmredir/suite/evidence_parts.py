"""Take the evidence of one result from one pod, kind by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pytest_fsmredir.backends.protocols import Files, JudgedMesh, Suspect, Take
from pytest_fsmredir.errors import BackendError, tail
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.why.counters import counted
from pytest_fsmredir.rules.why.explain import Explanation
from pytest_fsmredir.rules.why.repro import native_tables, repro
from pytest_fsmredir.rules.why.scene import listings, reading, reading_again
from pytest_fsmredir.text import printable

LONGEST: Final = 256 * 1024
"""Bytes of one file."""

_TABLES: Final = r"""
echo '# addresses'; ip addr
echo '# neighbours'; ip neigh
cd /proc/net; tail -n +1 nf_conntrack tcp tcp6 udp udp6 raw raw6 2>&1
echo '# settings'
grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter \
  /proc/sys/net/ipv4/conf/*/route_localnet /proc/sys/net/ipv6/conf/*/disable_ipv6 2>&1
exit 0
"""
_NO_SCRIPT: Final = (
    "the rules do not explain the failure, or the flow is not one of TCP or UDP that a socket sends"
)

Taken = tuple[dict[str, str | bytes], dict[str, str]]
"""Files by name, and what could not be taken, with the reasons."""


@dataclass(frozen=True)
class Taking:
    """Takes the evidence of one result from one pod.

    Attributes:
        check: The check.
        claim: The false claim about a flow, if there is one.
        mesh: The mesh of the check, not closed yet.
        pod: The pod.
        found: The explanation of the failure, if there is one.
    """

    check: Check
    claim: Claim | None
    mesh: JudgedMesh
    pod: Suspect
    found: Explanation | None

    def all(self) -> Taken:
        """Take everything."""
        return taken(self._parts())

    def rules(self) -> Files:
        """Return the rules."""
        case = None if self.found is None else self.found.case
        if self.found is None or case is None or not self.found.printed:
            return {"rules.txt": self._run(reading(self.mesh.python))}
        walk = "\n".join([*show.path_lines(case.path), ""])
        return {"rules-before.txt": self.found.printed, "walk.txt": walk}

    def _parts(self) -> Iterator[tuple[str, Take]]:
        """Yield the kinds of evidence, in the order in which they are taken."""
        if self.claim is not None:
            yield "packets", self._packets
        yield "rules", self.rules
        yield "tables", lambda: {"tables.txt": self._run(["/bin/sh", "-c", _TABLES])}
        yield from self.mesh.particulars(self.pod)
        if self.claim is not None:
            yield "repro.sh", self._script

    def _packets(self) -> Files:
        if self.claim is None or self.claim.fate.loops:
            raise BackendError("the flow loops, so it is not sent again")
        return {**self.mesh.sent_again(self.pod, self.claim.fate), **self._counted()}

    def _counted(self) -> Files:
        """Return the rules, and what the flow's second try has counted."""
        if self.found is None or not self.found.printed:
            return {}
        after = self._run(reading_again(self.found.printed))
        return {"rules-after.txt": after, "counted.txt": counted(self.found.printed, after)}

    def _script(self) -> Files:
        case = None if self.found is None else self.found.case
        if self.found is None or case is None:
            raise BackendError(_NO_SCRIPT)
        title = f"{self.check.id} {self.check.title}"
        native = "".join(
            self._run(["nft", "-s", "list", "table", family, name])
            for family, name in native_tables(case)
        )
        printed = {**listings(self.found.printed), "native": native}
        script = repro(case, self.found.why, printed, title, self.found.places)
        if script is None:
            raise BackendError(_NO_SCRIPT)
        if len(script) > LONGEST:
            raise BackendError(f"the rules are too long: the script has {len(script)} bytes")
        return {"repro.sh": script}

    def _run(self, argv: list[str]) -> str:
        done = self.mesh.inspect(self.pod, argv)
        if done.status != 0:
            raise BackendError(f"exit status {done.status}: {tail(done.stderr)}")
        return done.stdout


def taken(parts: Iterable[tuple[str, Take]]) -> Taken:
    """Take some kinds of evidence; return the files, and what could not be taken."""
    files: dict[str, str | bytes] = {}
    missing: dict[str, str] = {}
    for name, take in parts:
        try:
            files |= take()
        except Exception as error:  # such as a link that is gone; the verdict stands
            missing[name] = printable(str(error) or type(error).__name__)
    return files, missing
