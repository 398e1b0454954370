"""The results of the benchmark as plain values, for the report and the terminal."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from pytest_fsmredir.backends.measuring import Case, Metric
from pytest_fsmredir.suite.benchmark.rounds import Asked, Measured, Sample
from pytest_fsmredir.suite.benchmark.statistics import (
    Difference,
    Estimate,
    difference,
    estimated,
)

UNITS: Mapping[Metric, str] = {
    Metric.CONNECT_P50: "s",
    Metric.CONNECT_P99: "s",
    Metric.RATE: "1/s",
    Metric.INSTRUCTIONS: "1",
    Metric.FIRST_BYTE: "s",
    Metric.STREAM: "B/s",
    Metric.DATAGRAMS: "1/s",
    Metric.PROGRAMMING: "s",
    Metric.MEMORY: "B",
}
"""The unit of each metric; instructions are those of one connection."""


def point(
    variant: str, asked: Asked, measured: Measured, resolutions: Mapping[Metric, float]
) -> dict[str, Any]:
    """Return the results of one variant.

    Args:
        variant: Its name, such as ``nft/v4``.
        asked: What was to be measured.
        measured: What was measured.
        resolutions: The least difference that a measurement sees, by metric.
    """
    return {
        "variant": variant,
        "complete": measured.complete(asked),
        "lists": [
            _of_list(entries, asked.seed, measured, resolutions) for entries in asked.entries
        ],
    }


def document(
    asked: Asked,
    points: Iterable[Mapping[str, Any]],
    sources: Mapping[Metric, str],
    unavailable: Mapping[str, str],
) -> dict[str, Any]:
    """Return the part of the report about the benchmark."""
    return {
        "list": "outboundIPRangeExclusionList",
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "seed": asked.seed,
        "sources": {str(metric): text for metric, text in sources.items()},
        "notMeasured": {str(metric): text for metric, text in unavailable.items()},
        "points": list(points),
    }


def _of_list(
    entries: int, seed: int, measured: Measured, resolutions: Mapping[Metric, float]
) -> dict[str, Any]:
    found: dict[str, Any] = {"entries": entries, "rounds": measured.rounds.get(entries, 0)}
    if entries in measured.refused:
        found["refused"] = measured.refused[entries]
    missing = measured.unmeasured.get(entries, {})
    if missing:
        found["notMeasured"] = [
            {"load": str(load), "case": str(case), "reason": reasons[-1], "rounds": len(reasons)}
            for (load, case), reasons in missing.items()
        ]
    samples = measured.samples.get(entries, {})
    found["figures"] = [
        figure(metric, case, values, seed, resolutions.get(metric))
        for (metric, case), values in samples.items()
    ]
    return found


def figure(
    metric: Metric,
    case: Case | None,
    samples: Sequence[Sample],
    seed: int,
    resolution: float | None = None,
) -> dict[str, Any]:
    """Return one figure: medians, and the ratios to the other pods with their intervals.

    Args:
        metric: What was measured.
        case: The traffic; None for what is measured without traffic.
        samples: The values of all rounds.
        seed: Seed of the resamples.
        resolution: The least value that the measurement sees; None if it is not known.
    """
    seed ^= zlib.crc32(f"{metric} {case}".encode())
    found: dict[str, Any] = {"metric": str(metric), "unit": UNITS[metric]}
    if case is not None:
        found["case"] = str(case)
    pairs = [(each.value, each.plain) for each in samples if each.plain]
    if not pairs:
        return found | _alone(estimated([each.value for each in samples], seed), resolution)
    found |= {
        "value": rounded(median(value for value, _ in pairs)),
        "plain": rounded(median(plain for _, plain in pairs)),
        **_compared(pairs, seed),
    }
    tracked = [(each.value, each.tracked) for each in samples if each.tracked]
    return found | ({"beyondTracking": _compared(tracked, seed)} if tracked else {})


def _compared(pairs: Sequence[tuple[float, float]], seed: int) -> dict[str, Any]:
    ratio = estimated([value / other for value, other in pairs], seed)
    return {"ratio": _interval(ratio), "difference": str(difference(ratio))}


def _alone(value: Estimate, resolution: float | None) -> dict[str, Any]:
    """Return a figure that has no counterpart in the pod without rules.

    A difference of two readings that may as well be 0 says nothing.
    """
    known = Difference.SEEN if value.low is not None else Difference.UNKNOWN
    found = {"value": rounded(value.value), "interval": _interval(value), "difference": str(known)}
    if resolution is None:
        return found
    if value.value < resolution or value.holds(0.0):
        found["difference"] = str(Difference.BELOW)
    return found | {"resolution": rounded(resolution)}


def _interval(estimate: Estimate) -> dict[str, float]:
    found = {"value": rounded(estimate.value)}
    if estimate.low is not None and estimate.high is not None:
        found |= {"low": rounded(estimate.low), "high": rounded(estimate.high)}
    return found


def rounded(value: float) -> float:
    """Return a number with the four digits that a measurement has at most."""
    return float(f"{value:.4g}")
