"""The results of one run: the only part of it that changes."""

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
    """The results so far; in the controller of pytest-xdist those of every worker.

    Attributes:
        privilege: How the process got its privileges.
        undenied: What this machine cannot deny to an init command although a container runtime
            does.
        sidecar: The sidecar on network namespaces, with its release; empty for the recorder.
        rows: One row for each check and variant that ran.
        started: When the run started.
        trouble: Why the harness broke; empty if it did not.
        interrupted: The user ended the run early.
        kept: What backends left behind because the user asked for it.
        left: What could not be removed, and why.
        remarks: Facts that a reader of the verdict should know.
    """

    privilege: str
    undenied: tuple[str, ...] = ()
    sidecar: str = ""
    rows: dict[tuple[str, Variant], Row] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    trouble: str = ""
    interrupted: bool = False
    kept: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _of_gate: set[Variant] = field(default_factory=set)

    @property
    def reruns(self) -> int:
        """How often a check ran again."""
        return sum(row.attempts - 1 for row in self.rows.values())

    def record(self, row: Row) -> None:
        """Add a row; a second one for the same check and variant is merged."""
        key = (row.check, row.variant)
        if row.check == GATE and row.variant in self._of_gate:
            self._of_gate.discard(row.variant)
            del self.rows[key]
        self.rows[key] = self.rows[key].merged(row) if key in self.rows else row

    def record_gate(self, row: Row) -> None:
        """Add the row of the gate, which counts whether its check is selected or not."""
        if (row.check, row.variant) not in self.rows:
            self.rows[row.check, row.variant] = row
            self._of_gate.add(row.variant)

    @property
    def stopped_by_gate(self) -> bool:
        """Whether the gate stopped the run although its own check did not run."""
        return bool(self._of_gate)

    def remark(self, remarks: Iterable[str]) -> None:
        """Add remarks, each once."""
        self.remarks += [each for each in dict.fromkeys(remarks) if each not in self.remarks]

    @contextmanager
    def removing(self, what: str) -> Iterator[None]:
        """Record an error of the block as something left behind, so that the run goes on."""
        try:
            yield
        except FsmRedirError as error:
            self.left.append(f"{what}: {error}")

    def for_controller(self) -> dict[str, Any]:
        """Return what the controller of pytest-xdist cannot learn from reports."""
        return {"kept": self.kept, "left": self.left, "remarks": self.remarks}

    def merge(self, document: Mapping[str, Any]) -> None:
        """Add what a worker returned by :meth:`for_controller`."""
        self.kept += document["kept"]
        self.left += document["left"]
        self.remark(document["remarks"])
