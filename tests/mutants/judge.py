"""Run single checks against an implementation, in this process and without pytest."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.suite.deciding import decide
from tests.mutants.naming import naming, recording

VARIANTS = ("nft", "legacy")
FAMILIES = (4, 6)
IDLE_S = 1.2
_VIOLATED = frozenset({Outcome.FAIL, Outcome.WARN, Outcome.NOTE})


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A point of the matrix of backends, variants and IP versions."""

    iptables: str
    family: int

    def __str__(self) -> str:
        return f"{self.iptables}-v{self.family}"


MATRIX = tuple(Point(iptables, family) for iptables in VARIANTS for family in FAMILIES)


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one check.

    Attributes:
        check: Its id.
        point: The point of the matrix.
        outcome: Its outcome.
        detail: What was expected and seen, or the error; empty for a pass.
        seconds: Its duration.
        naming: Whether its explanation names the rule that is wrong; None if no rule is, or if that
            was not asked.
        why: The explanation.
        proof: What a check of every flow proved, or why not; empty for other checks.
    """

    check: str
    point: Point
    outcome: Outcome
    detail: str
    seconds: float
    naming: bool | None = None
    why: str = ""
    proof: str = ""

    def __str__(self) -> str:
        return f"{self.check}[{self.point}]"


class Judge:
    """Runs checks against one implementation. Checks share pods, as in the suite.

    Attributes:
        pods: Names of the pods of the last check.
    """

    def __init__(
        self,
        implementation: Implementation,
        backend: NetnsBackend,
        timeout_s: float,
        original: Implementation | None = None,
    ) -> None:
        """Prepare to run checks.

        Args:
            implementation: The implementation.
            backend: A backend that runs it.
            timeout_s: Seconds after which a flow counts as unanswered.
            original: The correct implementation, to find out which rules the explanation of a
                failure has to name; None to explain nothing.
        """
        self._implementation, self._backend = implementation, backend
        self._timeout_s, self._original = timeout_s, original
        self.pods: set[str] = set()

    def applies(self, check: Check, point: Point) -> bool:
        """Whether a check applies to the implementation."""
        return (
            point.family in check.families
            and check.features_for(point.family) <= self._implementation.features
            and check.needs <= self._backend.offers(point.family)
        )

    def run(self, check: Check, point: Point, *, expects_failure: bool = False) -> Trial:
        """Run one check, and repeat it if it failed because an answer was late.

        On a loaded machine an answer can be late. A fault of the rules fails again.

        Args:
            check: The check.
            point: The point of the matrix.
            expects_failure: Repeat it only if this thread also waited for a processor: it sends
                and answers, so nothing else makes an answer late.
        """
        waited_s = delayed_s()
        trial = self._run(check, point)
        if trial.outcome not in _VIOLATED or trial.seconds < self._timeout_s:
            return trial
        if expects_failure and delayed_s() - waited_s < self._timeout_s / 2:
            return trial
        return self._run(check, point)

    def run_all(self, checks: Iterable[Check], points: Iterable[Point]) -> Iterator[Trial]:
        """Run every check that applies, on every point."""
        every = list(checks)
        for point in points:
            yield from (self.run(check, point) for check in every if self.applies(check, point))

    def _run(self, check: Check, point: Point) -> Trial:
        began = time.perf_counter()
        iptables = IptablesVariant(point.iptables)
        mesh = self._backend.mesh(point.family, iptables, exhaustive=False)
        explains = self._original is not None
        foreign = recording(mesh) if explains and Need.FOREIGN_RULES in check.needs else []
        try:
            result = decide(check, Variant(self._backend.name, iptables, point.family), mesh)
            row, seconds = result.row, time.perf_counter() - began
            trial = Trial(check.id, point, row.outcome, row.reason, seconds, proof=row.proof)
            if row.outcome not in _VIOLATED or self._original is None:
                return trial
            named = naming(
                check, result.claim, mesh, self._backend, self._original, foreign, row.reason
            )
            return replace(trial, naming=named.names, why=named.why)
        finally:
            self.pods = mesh.pod_names()
            mesh.close()


def delayed_s() -> float:
    """Return for how many seconds this thread has waited for a processor; NaN if nobody counts."""
    try:
        counted = Path("/proc/thread-self/schedstat").read_text(encoding="ascii")
    except OSError:  # a kernel without CONFIG_SCHED_INFO
        return math.nan
    return int(counted.split()[1]) / 1e9


@contextmanager
def judging(implementation: Implementation, timeout_s: float) -> Iterator[Judge]:
    """Judge one implementation, in pods that are removed at the end of the block."""
    with closing(new_backend(implementation, timeout_s)) as backend:
        yield Judge(implementation, backend, timeout_s)


def new_backend(implementation: Implementation, timeout_s: float) -> NetnsBackend:
    """Return a backend for the whole matrix.

    In a session, other checks run while connections are idle. Here nothing else runs, so wait less.
    """
    backend = NetnsBackend(implementation, families=FAMILIES, timeout_s=timeout_s)
    backend.idle_s = IDLE_S
    return backend
