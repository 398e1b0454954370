"""Run the recorded command again, and compare its results with those of the report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_fsmredir.errors import ReportError, tail
from pytest_fsmredir.procs import run_any
from pytest_fsmredir.report.changes import changes
from pytest_fsmredir.report.read import Report, read_report
from pytest_fsmredir.report.verify.finding import Finding, note

_LIMIT_S = 3 * 3600.0
_FILE_LIMIT = 1 << 30  # bytes of one file that the run writes


def command_again(argv: Sequence[str], report: Path) -> list[str]:
    """Return the command of a run, with another directory for its report.

    Args:
        argv: The recorded command: ``pytest`` and its arguments.
        report: The directory for the new report.
    """
    kept = list(argv[1:])
    for place, word in enumerate(kept):
        if word == "--fsm-report":
            kept[place : place + 2] = []
            break
    arguments = [word for word in kept if not word.startswith("--fsm-report=")]
    return [sys.executable, "-m", "pytest", *arguments, f"--fsm-report={report}"]


def run_again(report: Report, directory: Path, target: Path) -> Iterator[Finding]:
    """Run the recorded command again, and compare the outcomes.

    Args:
        report: The report.
        directory: Where to run: the checkout of the implementation.
        target: The directory for the new report.
    """
    argv = command_again(report.run["argv"], target)
    status, out, errors = run_any(
        argv, cwd=directory, timeout_s=_LIMIT_S, file_limit=_FILE_LIMIT, apart=True
    )
    try:
        fresh = read_report(target)
    except ReportError:
        yield Finding(
            f"run again in {directory}: no report (exit status {status}): {tail(out + errors)}"
        )
        return
    yield from _compared(report, fresh)


def _compared(report: Report, fresh: Report) -> Iterator[Finding]:
    names = report.run["options"].keys() | fresh.run["options"].keys()
    for name in sorted(names - {"report", "options"}):
        old, new = (each.run["options"].get(name, "the default") for each in (report, fresh))
        if old != new:
            yield Finding(f"run again with another --fsm-{name}: {new}, not {old}")
    differing = list(changes(report, fresh))
    for change in differing:
        after = change.after or "no row"
        yield Finding(
            f"run again: {change.check} on {change.variant} has {after}, not {change.before}"
        )
    if report.document["resultsDigest"] == fresh.document["resultsDigest"]:
        yield note("run again: the results have the same digest")
    elif not differing:
        yield Finding(
            "run again: the outcomes are equal, but the suite or the implementation is not"
        )
