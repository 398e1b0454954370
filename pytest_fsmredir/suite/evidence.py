"""Write a directory with what is known about a failure: rules, packets, tables, a script."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_fsmredir.backends.protocols import Files, JudgedMesh, Suspect
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.outcomes import EVIDENCE, Outcome, Row

if TYPE_CHECKING:  # a run without a failure does not load the model of the rules here
    from pytest_fsmredir.rules.why.explain import Explanation
    from pytest_fsmredir.suite.evidence_parts import Taken, Taking

ALIKE: Final = 3
"""Directories of failures with the same explanation."""
AT_MOST: Final = 60
"""Directories of failures of one process."""
DEFAULT: Final = Path(".fsm-evidence")


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
    _clean: bool = False
    _passed: dict[tuple[tuple[str, ...], int], Path] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The directory that holds the others."""
        report = self.settings.report
        return DEFAULT if report is None else report / EVIDENCE

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
        from pytest_fsmredir.suite.evidence_parts import Taking

        self._alike[row.why] += 1
        pods = mesh.suspects(None if claim is None else claim.fate)
        if not pods or (row.why and self._alike[row.why] > ALIKE):
            return None
        pod = _explained_pod(pods, found)
        directory = self.directory / f"{check.id}-{row.variant}".replace(":", "-")
        taking = Taking(check, claim, mesh, pod, found)
        if row.outcome is Outcome.PASS:
            files, missing = self._of_pass(taking, directory)
        else:
            files, missing = taking.all()
        readme = _readme(check, row, pod, list(files), missing)
        try:
            self._require_clean()
            _write(directory, {"README.yaml": readme, **files})
        except OSError:
            return None  # such as a full disk; the verdict does not depend on it
        self.written.append(directory)
        return directory

    def _of_pass(self, taking: Taking, directory: Path) -> Taken:
        """Return the rules of a pod in which a check passed; checks that share a pod do it once."""
        from pytest_fsmredir.suite.evidence_parts import taken

        pod = taking.pod
        key = (pod.addresses, len(pod.earlier))
        if (first := self._passed.setdefault(key, directory)) != directory:
            return {"rules.txt": f"# the rules of the same pod are in ../{first.name}\n"}, {}
        return taken([("rules", taking.rules)])

    def _require_clean(self) -> None:
        """Remove what killed processes left in the directory; once in this process."""
        if self._clean:
            return
        self._clean = True
        for partial in self.directory.glob(".*"):
            number = partial.name.rpartition(".")[2]
            if number.isdigit() and not Path("/proc", number).exists():
                shutil.rmtree(partial)


def _explained_pod(pods: Sequence[Suspect], found: Explanation | None) -> Suspect:
    """Return the pod whose rules explain the failure, or else the newest one."""
    if found is not None and found.case is not None:
        own = {*found.case.pod.texts()}
        return next((pod for pod in pods if {*pod.addresses} == own), pods[-1])
    return pods[-1]


def _readme(
    check: Check, row: Row, pod: Suspect, files: list[str], missing: Mapping[str, str]
) -> str:
    """Return what the directory is about, as YAML."""
    import yaml

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
    """Write files into a directory, in place of what an earlier run left there.

    The directory appears when it is complete, so that nobody reads half of it.

    Raises:
        OSError: A file cannot be written.
    """
    partial = directory.with_name(f".{directory.name}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in files.items():
            raw = content if isinstance(content, bytes) else _cut(content)
            (partial / name).write_bytes(raw)
        if "repro.sh" in files:
            (partial / "repro.sh").chmod(0o755)
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _cut(text: str) -> bytes:
    """Return a text as bytes of limited length; a cut text says so."""
    from pytest_fsmredir.suite.evidence_parts import LONGEST

    raw = text.encode("utf-8", "replace")
    cut = f"\n# cut: a file has at most {LONGEST} bytes\n".encode()
    return raw if len(raw) <= LONGEST else raw[: LONGEST - len(cut)] + cut
