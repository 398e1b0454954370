"""Medians with their spread, and what a ratio says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from statistics import median
from typing import NamedTuple

LEAST_ROUNDS = 6
"""Fewer values give no interval: the median of 5 lies outside all of them in 1 of 16 cases."""

_RESAMPLES = 600
_OUTSIDE = 0.05


class Difference(StrEnum):
    """What a ratio says about two pods, or a figure about its measurement."""

    SEEN = "seen"
    NONE_SEEN = "none seen"
    UNKNOWN = "too few rounds"
    BELOW = "below resolution"


class Estimate(NamedTuple):
    """A median, and the interval of 95 % around it.

    Attributes:
        value: The median.
        low: The lower end; None with too few values.
        high: The upper end; None with too few values.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool | None:
        """Whether the interval holds a value; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= value <= self.high


def estimated(values: Sequence[float], seed: int) -> Estimate:
    """Return the median of some values, with its bootstrap interval (percentiles of resamples).

    Args:
        values: One value for each round; at least one.
        seed: Seed of the resamples.
    """
    centre = median(values)
    if len(values) < LEAST_ROUNDS:
        return Estimate(centre)
    draw = random.Random(seed)  # noqa: S311 - statistics, not secrets
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    cut = int(_RESAMPLES * _OUTSIDE / 2)
    return Estimate(centre, medians[cut], medians[-1 - cut])


def difference(ratio: Estimate) -> Difference:
    """Return what a ratio says: no difference is seen if its interval holds 1."""
    return {True: Difference.NONE_SEEN, False: Difference.SEEN, None: Difference.UNKNOWN}[
        ratio.holds(1.0)
    ]
