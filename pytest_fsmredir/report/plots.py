"""Plots of the benchmark as SVG: each metric against the number of list entries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pytest_fsmredir.report.render import template

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 330, 210, 56, 58, 46
_PLOTTED = ("connect p50", "connect p99", "new connections", "first byte", "stream", "datagrams")
_MARKS = ("circle", "square", "triangle", "diamond")


class Point(NamedTuple):
    """One value of a curve, in pixels, with its interval."""

    x: float
    y: float
    low: float
    high: float
    title: str


class Curve(NamedTuple):
    """The values of one case."""

    name: str
    mark: str
    style: int
    points: Sequence[Point]


class Panel(NamedTuple):
    """The curves of one variant, and the axes."""

    name: str
    x: float
    columns: Sequence[tuple[float, str]]
    lines: Sequence[tuple[float, str]]
    curves: Sequence[Curve]


def plots(document: Mapping[str, Any], *, inline: bool = False) -> dict[str, str]:
    """Return the plots, by file name; a metric without two list sizes has none.

    Args:
        document: The figures.
        inline: The plots become part of a page, which has the styles.
    """
    found = {}
    for metric in _PLOTTED:
        values = [each for point in document["points"] for each in _ratios(point, metric)]
        if len({entries for entries, _, _ in values}) > 1:
            name = f"{metric.replace(' ', '-')}.svg"
            found[name] = _drawn(metric, document["points"], values, inline=inline)
    return found


def _ratios(point: Mapping[str, Any], metric: str) -> Iterator[tuple[int, str, dict[str, float]]]:
    for each in point["lists"]:
        for figure in each["figures"]:
            if figure["metric"] == metric and "ratio" in figure:
                yield each["entries"], figure["case"], figure["ratio"]


def _drawn(
    metric: str,
    points: Sequence[Mapping[str, Any]],
    values: Sequence[tuple[int, str, Mapping[str, float]]],
    *,
    inline: bool,
) -> str:
    ends = [end for _, _, ratio in values for end in _interval(ratio)]
    scale = _Scale(min([*ends, 1.0]), max([*ends, 1.0]))
    entries = sorted({number for number, _, _ in values})
    columns = {number: _column(place, len(entries)) for place, number in enumerate(entries)}
    panels = [
        _panel(point, metric, columns, scale, _LEFT + place * (_WIDTH + _GAP))
        for place, point in enumerate(points)
    ]
    drawn: str = template("benchmark.svg").render(
        metric=metric,
        inline=inline,
        panels=panels,
        width=_LEFT + len(panels) * (_WIDTH + _GAP),
        height=_TOP + _HEIGHT + 64,
        top=_TOP,
        bottom=_TOP + _HEIGHT,
        panel_width=_WIDTH,
        one=scale.y(1.0),
        summary=_summary(metric, points),
    )
    return drawn


class _Scale:
    """A logarithmic axis of ratios."""

    def __init__(self, least: float, most: float) -> None:
        self._low, self._high = math.log(least / 1.1), math.log(most * 1.1)
        self.marks = [
            mark
            for mark in (0.1, 0.2, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
            if least / 1.1 <= mark <= most * 1.1
        ]

    def y(self, ratio: float) -> float:
        share = (math.log(ratio) - self._low) / (self._high - self._low)
        return round(_TOP + _HEIGHT * (1 - share), 1)


def _column(place: int, count: int) -> float:
    return round((place + 0.5) * _WIDTH / count, 1)


def _panel(
    point: Mapping[str, Any],
    metric: str,
    columns: Mapping[int, float],
    scale: _Scale,
    x: float,
) -> Panel:
    found = list(_ratios(point, metric))
    curves = []
    for place, case in enumerate(dict.fromkeys(case for _, case, _ in found)):
        made = [
            _point(columns[entries], entries, case, ratio, scale)
            for entries, each, ratio in found
            if each == case
        ]
        curves.append(Curve(case, _MARKS[place % len(_MARKS)], place % len(_MARKS), made))
    return Panel(
        name=str(point["variant"]),
        x=x,
        columns=[(at, f"{entries:,}") for entries, at in columns.items()],
        lines=[(scale.y(mark), f"{mark:g}") for mark in scale.marks],
        curves=curves,
    )


def _point(x: float, entries: int, case: str, ratio: Mapping[str, float], scale: _Scale) -> Point:
    low, high = _interval(ratio)
    title = f"{case}, {entries:,} entries: {ratio['value']:.3g} ({low:.3g} to {high:.3g})"
    return Point(x, scale.y(ratio["value"]), scale.y(low), scale.y(high), title)


def _interval(ratio: Mapping[str, float]) -> tuple[float, float]:
    return ratio.get("low", ratio["value"]), ratio.get("high", ratio["value"])


def _summary(metric: str, points: Sequence[Mapping[str, Any]]) -> str:
    """Return the plot in words, for those who do not see it."""
    parts = []
    for point in points:
        found = list(_ratios(point, metric))
        for case in dict.fromkeys(case for _, case, _ in found):
            values = ", ".join(
                f"{ratio['value']:.3g} with {entries:,}"
                for entries, each, ratio in found
                if each == case
            )
            parts.append(f"{point['variant']} {case}: {values}")
    return "; ".join(parts)
