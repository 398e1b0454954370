"""Running single checks against an implementation, in this process and without pytest."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.model.outcomes import Outcome

VARIANTS = ("nft", "legacy")
FAMILIES = (4, 6)
_VIOLATED = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN, Level.INFO: Outcome.NOTE}


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A point of the matrix that checks are run on."""

    iptables: str
    family: int

    def __str__(self) -> str:
        return f"{self.iptables}-v{self.family}"


MATRIX = tuple(Point(iptables, family) for iptables in VARIANTS for family in FAMILIES)


@dataclass(frozen=True, slots=True)
class Trial:
    """One check run once.

    Attributes:
        check: Its id.
        point: Where.
        outcome: How it ended.
        detail: The assertion that failed, or the error; empty for a pass.
        seconds: How long it took.
    """

    check: str
    point: Point
    outcome: Outcome
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.check}[{self.point}]"


class Judge:
    """Runs checks against one implementation; pods are shared between them as in the suite.

    Attributes:
        pods: Names of the pods that the last check had.
    """

    def __init__(
        self, implementation: Implementation, backend: NetnsBackend, timeout_s: float
    ) -> None:
        self._implementation, self._backend = implementation, backend
        self._timeout_s = timeout_s
        self.pods: set[str] = set()

    def applies(self, check: Check, point: Point) -> bool:
        """Whether the implementation has to answer for a check."""
        return (
            point.family in check.families
            and check.features_for(point.family) <= self._implementation.features
            and check.needs <= self._backend.offers(point.family)
        )

    def run(self, check: Check, point: Point) -> Trial:
        """Run one check, and again if it failed for want of an answer in time."""
        trial = self._run(check, point)
        if trial.outcome in _VIOLATED.values() and trial.seconds >= self._timeout_s:
            # On a loaded machine an answer can be late; what is wrong with rules stays wrong.
            trial = self._run(check, point)
        return trial

    def run_all(self, checks: Iterable[Check], points: Iterable[Point]) -> Iterator[Trial]:
        """Run every check that applies, on every point."""
        every = list(checks)
        for point in points:
            yield from (self.run(check, point) for check in every if self.applies(check, point))

    def _run(self, check: Check, point: Point) -> Trial:
        began = time.perf_counter()
        outcome, detail = self._decide(check, point)
        return Trial(check.id, point, outcome, detail, time.perf_counter() - began)

    def _decide(self, check: Check, point: Point) -> tuple[Outcome, str]:
        mesh = self._backend.mesh(point.family, IptablesVariant(point.iptables), exhaustive=False)
        try:
            check.function(mesh)
        except AssertionError as failure:
            return _VIOLATED[check.level], _assertion(failure)
        except Exception as error:
            return Outcome.ERROR, f"{type(error).__name__}: {error}"
        finally:
            self.pods = mesh.pod_names()
            mesh.close()
        return (Outcome.PASS, "") if mesh.observed else (Outcome.ERROR, "the check sent nothing")


@contextmanager
def judging(implementation: Implementation, timeout_s: float) -> Iterator[Judge]:
    """Judge one implementation, in pods that end with the block."""
    with closing(new_backend(implementation, timeout_s)) as backend:
        yield Judge(implementation, backend, timeout_s)


def new_backend(implementation: Implementation, timeout_s: float) -> NetnsBackend:
    """Return a backend for the whole matrix."""
    return NetnsBackend(implementation, families=FAMILIES, timeout_s=timeout_s)


def _assertion(failure: AssertionError) -> str:
    """Return the line that failed: without pytest nobody puts it into the message."""
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    said = str(failure).partition("\n")[0]
    return f"{frame.name}:{frame.lineno}: {frame.line}" + (f"  ({said})" if said else "")
