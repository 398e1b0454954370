"""The results of one run, the only mutable state of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.model.checks import GATE
from pytest_fsmredir.model.outcomes import Row, Variant


@dataclass
class Results:
    """The results so far; in the controller of pytest-xdist, those of all workers.

    Attributes:
        privilege: How the process got its privileges.
        iptables: The version of each iptables variant that is used on this machine.
        undenied: Privileges that this machine cannot take from an init command, but a container
            runtime can.
        sidecar: Name and release of the sidecar on network namespaces; empty for the recorder.
        rows: One row for each check and variant that ran.
        started: When the run started.
        trouble: Why the harness broke; empty if it did not.
        interrupted: Whether the user ended the run early.
        kept: What backends left behind at the user's request.
        left: What could not be removed, and the reasons.
        remarks: Facts for the reader of the verdict.
        benchmark: The figures of the benchmark; empty without one.
    """

    privilege: str
    iptables: Mapping[str, str] = field(default_factory=dict)
    undenied: tuple[str, ...] = ()
    sidecar: str = ""
    rows: dict[tuple[str, Variant], Row] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    trouble: str = ""
    interrupted: bool = False
    kept: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    benchmark: Mapping[str, Any] = field(default_factory=dict)
    _of_gate: set[Variant] = field(default_factory=set)

    @property
    def reruns(self) -> int:
        """The number of repeated runs of checks."""
        return sum(row.attempts - 1 for row in self.rows.values())

    @property
    def evidence(self) -> list[str]:
        """The directories of evidence, in order."""
        return sorted({row.evidence for row in self.rows.values() if row.evidence})

    def record(self, row: Row) -> None:
        """Add a row; merge it with an earlier row of the same check and variant."""
        key = (row.check, row.variant)
        if row.check == GATE and row.variant in self._of_gate:
            self._of_gate.discard(row.variant)
            del self.rows[key]
        self.rows[key] = self.rows[key].merged(row) if key in self.rows else row

    def record_gate(self, row: Row) -> None:
        """Add the row of the gate, which counts even if its check is not selected."""
        if (row.check, row.variant) not in self.rows:
            self.rows[row.check, row.variant] = row
            self._of_gate.add(row.variant)

    @property
    def stopped_by_gate(self) -> bool:
        """Whether the gate stopped the run, but its check did not run."""
        return bool(self._of_gate)

    def remark(self, remarks: Iterable[str]) -> None:
        """Add remarks, each once."""
        self.remarks += [each for each in dict.fromkeys(remarks) if each not in self.remarks]

    @contextmanager
    def removing(self, what: str) -> Iterator[None]:
        """Record an error of the block as a failed removal, so that the run continues."""
        try:
            yield
        except FsmRedirError as error:
            self.left.append(f"{what}: {error}")

    def for_controller(self) -> dict[str, Any]:
        """Return the facts that the controller of pytest-xdist cannot learn from reports."""
        return {"kept": self.kept, "left": self.left, "remarks": self.remarks}

    def merge(self, document: Mapping[str, Any]) -> None:
        """Merge the result of :meth:`for_controller` of a worker."""
        self.kept += document["kept"]
        self.left += document["left"]
        self.remark(document["remarks"])
