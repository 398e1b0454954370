"""Show the figures of the benchmark: lines for a terminal, plots, and files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_fsmredir.report.plots import plots
from pytest_fsmredir.report.sums import SUMS, digests_of, sums_text
from pytest_fsmredir.text import counted, one_line

FOLDER = "benchmark"
"""The directory of the plots in a report."""

FIGURES = "benchmark.json"
"""The file of the figures, beside a report that has no verdict."""

_BEYOND = "beyond tracking"
_LEGEND = (
    "ratio to a pod without rules, half-width of the 95 % interval after ±; 'same': no difference"
    " seen, the interval holds 1; ?: too few rounds for an interval; -: not measured",
    f"{_BEYOND}: ratio to a pod without rules whose kernel tracks connections; 'same' says that"
    " tracking alone explains the row above",
)
_PREFIXES = ("", "k", "M", "G")


def benchmark_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of each variant, and how the figures came about."""
    if not document:
        return
    for point in document["points"]:
        yield from _table(point)
    yield from _LEGEND
    yield f"seed of the orders and resamples: {document['seed']}"
    for metric, text in document["sources"].items():
        yield f"{metric}: {text}"
    for metric, text in document["notMeasured"].items():
        yield f"{metric}: not measured: {text}"


def write_plots(document: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write the plots of a report into their folder, and return the files.

    Raises:
        OSError: A file cannot be written.
    """
    folder, files = directory / FOLDER, []
    for name, text in plots(document).items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        files.append(folder / name)
    return files


def write_benchmark(document: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write the figures and the plots of a run that judges nothing, and return the files.

    Raises:
        OSError: A file cannot be written.
    """
    figures = directory / FIGURES
    figures.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    files = [figures, *write_plots(document, directory)]
    sums = directory / SUMS
    sums.write_text(sums_text(digests_of(files, directory)), encoding="utf-8")
    return [*files, sums]


def _table(point: Mapping[str, Any]) -> Iterator[str]:
    lists = point["lists"]
    rounds = sorted({each["rounds"] for each in lists})
    shown = "-".join(map(str, dict.fromkeys((rounds[0], rounds[-1]))))
    early = "" if point["complete"] else ", ended early"
    noun = "round" if shown == "1" else "rounds"
    yield f"{point['variant']}: {shown} {noun}{early}"
    yield _row("excluded ranges", "", [f"{each['entries']:,}" for each in lists])
    figures = [{_key(one): one for one in each["figures"]} for each in lists]
    for metric, case in dict.fromkeys(key for each in figures for key in each):
        row = [each.get((metric, case)) for each in figures]
        yield _row(metric, case, [_cell(each) for each in row])
        beyond = [(each or {}).get("beyondTracking") for each in row]
        if any(beyond):
            yield _row(f"  {_BEYOND}", "", [_cell(each) for each in beyond])
    for each in lists:
        if "refused" in each:
            yield f"  {each['entries']:,} ranges: {one_line(each['refused'])}"
        for missing in each.get("notMeasured", ()):
            what, why = f"{missing['load']} {missing['case']}", one_line(missing["reason"])
            times = counted(missing["rounds"], "round")
            yield f"  {each['entries']:,} ranges: {what} not measured in {times}: {why}"


def _key(figure: Mapping[str, Any]) -> tuple[str, str]:
    return figure["metric"], figure.get("case", "")


def _row(metric: str, case: str, cells: list[str]) -> str:
    name = f"{metric:<16}  {case:<9}" if case else f"{metric:<27}"
    return "  ".join([name, *(f"{each:>12}" for each in cells)]).rstrip()


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    if "ratio" not in figure:
        return _absolute(figure)
    ratio = figure["ratio"]
    if "low" not in ratio:
        return f"{ratio['value']:.2f} ?"
    if figure["difference"] == "none seen":
        return "same"
    return f"{ratio['value']:.2f} ±{(ratio['high'] - ratio['low']) / 2:.2f}"


def _absolute(figure: Mapping[str, Any]) -> str:
    if figure["difference"] == "below resolution":
        return f"below {quantity(figure['resolution'], figure['unit'])}"
    return f"{quantity(figure['value'], figure['unit'])}" + (
        " ?" if "low" not in figure["interval"] else ""
    )


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit, such as ``21 µs`` or ``1.8 GB/s``."""
    if unit == "s":
        for factor, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}"
        return f"{value * 1e9:.3g} ns"
    power = 0
    while abs(value) >= 1000 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_PREFIXES[power]}{unit if unit != '1' else ''}".rstrip()
