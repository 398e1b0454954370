"""Write a directory with what is known about a failure: rules, packets, tables, a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.backends.protocols import JudgedMesh, Suspect
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.errors import BackendError, tail
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.why.counters import counted
from pytest_fsmredir.rules.why.explain import Explanation
from pytest_fsmredir.rules.why.repro import repro
from pytest_fsmredir.rules.why.scene import listings, reading
from pytest_fsmredir.text import printable

ALIKE: Final = 3
"""Directories of failures with the same explanation."""
AT_MOST: Final = 60
"""Directories of failures of one process."""
LONGEST: Final = 512 * 1024
"""Bytes of one file."""
DEFAULT: Final = Path(".fsm-evidence")

_TABLES: Final = r"""
for what in 'ip addr' 'ip -4 route show table all' 'ip -6 route show table all' 'ip rule' \
  'ip neigh'; do
  echo "# $what"; $what 2>&1
done
for file in nf_conntrack tcp tcp6 udp udp6 raw raw6; do
  echo "# /proc/net/$file"; cat /proc/net/$file 2>&1
done
echo '# settings'
grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter \
  /proc/sys/net/ipv4/conf/*/route_localnet /proc/sys/net/ipv6/conf/*/disable_ipv6 2>&1
exit 0
"""
_NO_SCRIPT: Final = (
    "the rules do not explain the failure, or are not of iptables, or the flow is not a plain one"
)

Files = Mapping[str, str | bytes]
Take = Callable[[], Files]


@dataclass
class Evidence:
    """The evidence of one run.

    Attributes:
        settings: The user's settings.
        written: The directories so far.
    """

    settings: Settings
    written: list[Path] = field(default_factory=list)
    _alike: Counter[str] = field(default_factory=Counter)
    _passed: dict[tuple[tuple[str, ...], int], Path] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The directory that holds the others."""
        report = self.settings.report
        return DEFAULT if report is None else report / "evidence"

    def wants(self, *, failed: bool) -> bool:
        """Whether a result leaves evidence."""
        mode = self.settings.evidence
        return mode == "all" or (mode == "on-failure" and failed and len(self.written) < AT_MOST)

    def take(
        self,
        check: Check,
        row: Row,
        claim: Claim | None,
        mesh: JudgedMesh,
        found: Explanation | None,
    ) -> Path | None:
        """Write the directory of one result.

        An error of ours never changes the outcome of a check: the README names what is missing.

        Args:
            check: The check.
            row: Its result.
            claim: The false claim about a flow, if there is one.
            mesh: The mesh of the check, not closed yet.
            found: The explanation of the failure, if there is one.

        Returns:
            The directory; None if there are enough of that explanation, or if it cannot be written.
        """
        self._alike[row.why] += 1
        pods = mesh.suspects(None if claim is None else claim.fate)
        if not pods or (row.why and self._alike[row.why] > ALIKE):
            return None
        pod = _explained_pod(pods, found)
        directory = self.directory / f"{check.id}-{row.variant}".replace(":", "-")
        taking = _Taking(check, claim, mesh, pod, found)
        if row.outcome is Outcome.PASS:
            files, missing = self._of_pass(taking, directory)
        else:
            files, missing = taking.all()
        files["README.yaml"] = _readme(check, row, pod, list(files), missing)
        try:
            _write(directory, files)
        except OSError:
            return None  # such as a full disk; the verdict does not depend on it
        self.written.append(directory)
        return directory

    def _of_pass(
        self, taking: _Taking, directory: Path
    ) -> tuple[dict[str, str | bytes], dict[str, str]]:
        """Return the rules of a pod in which a check passed; checks that share a pod do it once."""
        pod = taking.pod
        key = (pod.addresses, len(pod.earlier))
        if (first := self._passed.setdefault(key, directory)) != directory:
            return {"rules.txt": f"# the rules of the same pod are in ../{first.name}\n"}, {}
        return taking.taken([("rules", taking.rules)])


def _explained_pod(pods: Sequence[Suspect], found: Explanation | None) -> Suspect:
    """Return the pod whose rules explain the failure, or else the newest one."""
    if found is not None and found.case is not None:
        own = {*found.case.pod.texts()}
        return next((pod for pod in pods if {*pod.addresses} == own), pods[-1])
    return pods[-1]


@dataclass(frozen=True)
class _Taking:
    """Takes the evidence of one result from one pod."""

    check: Check
    claim: Claim | None
    mesh: JudgedMesh
    pod: Suspect
    found: Explanation | None

    def all(self) -> tuple[dict[str, str | bytes], dict[str, str]]:
        """Return the files by name, and what could not be taken with the reasons."""
        return self.taken(self._parts())

    def taken(
        self, parts: Iterable[tuple[str, Take]]
    ) -> tuple[dict[str, str | bytes], dict[str, str]]:
        """Take some kinds of evidence; return the files, and what could not be taken."""
        files: dict[str, str | bytes] = {}
        missing: dict[str, str] = {}
        for name, take in parts:
            try:
                files |= take()
            except Exception as error:  # such as a link that is gone; the verdict stands
                missing[name] = printable(str(error) or type(error).__name__)
        return files, missing

    def _parts(self) -> Iterator[tuple[str, Take]]:
        """Yield the kinds of evidence, in the order in which they are taken."""
        if self.claim is not None:
            yield "packets", self._packets
        yield "rules", self.rules
        yield "tables", lambda: {"tables.txt": self._run(["/bin/sh", "-c", _TABLES])}
        if self.claim is not None:
            yield "repro.sh", self._script

    def _packets(self) -> Files:
        if self.claim is None or self.claim.fate.loops:
            raise BackendError("the flow loops, so it is not sent again")
        return self.mesh.sent_again(self.pod, self.claim.fate)

    def rules(self) -> Files:
        """Return the rules, and what the flow's second try has counted."""
        after = self._run(reading())
        case = None if self.found is None else self.found.case
        if self.found is None or case is None or not self.found.printed:
            return {"rules.txt": after}
        return {
            "rules-before.txt": self.found.printed,
            "rules-after.txt": after,
            "counted.txt": counted(self.found.printed, after),
            "walk.txt": "\n".join([*show.path_lines(case.path), ""]),
        }

    def _script(self) -> Files:
        case = None if self.found is None else self.found.case
        if self.found is None or case is None:
            raise BackendError(_NO_SCRIPT)
        title = f"{self.check.id} {self.check.title}"
        script = repro(case, self.found.why, listings(self.found.printed), title)
        if script is None:
            raise BackendError(_NO_SCRIPT)
        return {"repro.sh": script}

    def _run(self, argv: list[str]) -> str:
        done = self.mesh.facet(ForeignPrograms).run(self.pod, argv)
        if done.status != 0:
            raise BackendError(f"exit status {done.status}: {tail(done.stderr)}")
        return done.stdout


def _readme(
    check: Check, row: Row, pod: Suspect, files: list[str], missing: Mapping[str, str]
) -> str:
    """Return what the directory is about, as YAML."""
    asked = pod.configuration
    told: dict[str, Any] = {
        "check": check.id,
        "title": check.title,
        "on": str(row.variant),
        "flow": row.flow,
        "expected": row.expected,
        "seen": row.seen or row.reason,
        "path": row.path,
        "why": row.why,
        "pod": {name: list(addresses) for name, addresses in pod.interfaces.items()},
        "annotations": dict(asked.annotations),
        "meshConfig": {name: list(values) for name, values in asked.traffic.items()},
        "implementation": pod.outcome,
        "files": sorted(files),
        "notTaken": dict(missing),
    }
    kept = {name: value for name, value in told.items() if value}
    text: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
    return text


def _write(directory: Path, files: Files) -> None:
    """Write files into a directory, and remove what an earlier run left there.

    Raises:
        OSError: A file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        if old.is_file():
            old.unlink()
    for name, content in files.items():
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
        (directory / name).write_bytes(raw[:LONGEST])
    script = directory / "repro.sh"
    if script.exists():
        script.chmod(0o755)
