"""When a trial of a mutant is repeated."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.mutants import judge
from tests.mutants.judge import Judge, Point, Trial

CHECK = catalogue.load()["OUT-001"]
POINT = Point("nft", 4)
TIMEOUT_S = 0.4


class Failing(Judge):
    """Fails every check after the timeout, and counts the trials."""

    def __init__(self) -> None:
        self._timeout_s = TIMEOUT_S
        self.trials = 0

    def _run(self, check: object, point: Point) -> Trial:
        self.trials += 1
        return Trial(str(check), point, Outcome.FAIL, "no answer", TIMEOUT_S)


@pytest.mark.parametrize(
    ("expects_failure", "delay_s", "trials"),
    [(True, 0.1, 1), (True, 0.3, 2), (True, math.nan, 2), (False, 0.0, 2)],
)
def test_silence_is_tried_again_unless_the_processor_was_free(
    monkeypatch: pytest.MonkeyPatch, expects_failure: bool, delay_s: float, trials: int
) -> None:
    """Catches: a late answer that kills, or a silent mutant that costs two timeouts."""
    delays: Iterator[float] = iter([5.0, 5.0 + delay_s])
    monkeypatch.setattr(judge, "delayed_s", lambda: next(delays))
    failing = Failing()
    failing.run(CHECK, POINT, expects_failure=expects_failure)
    assert failing.trials == trials


def test_delay_is_counted_by_the_kernel() -> None:
    """Catches: a file of another form, which would read as no delay."""
    delay_s = judge.delayed_s()
    assert math.isnan(delay_s) or 0 <= delay_s < 3600
