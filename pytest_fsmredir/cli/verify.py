"""``verify``: the reviewer's own check of a report.

Exit status: 0 nothing is wrong, 1 the report would be rejected, 2 it cannot be checked.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pytest_fsmredir.errors import FsmRedirError, ReportError
from pytest_fsmredir.report.read import Report, read_report
from pytest_fsmredir.report.verify.finding import Finding
from pytest_fsmredir.report.verify.rerun import run_again
from pytest_fsmredir.report.verify.whole import UNKNOWABLE, findings
from pytest_fsmredir.suite.judgement import Verdict
from pytest_fsmredir.text import counted, one_line

_ACCEPTED = {
    "none": frozenset(Verdict),
    "partial": frozenset({Verdict.CONFORMANT, Verdict.PARTIAL}),
    "conformant": frozenset({Verdict.CONFORMANT}),
}


def main(argv: Sequence[str]) -> int:
    """Check a report, print each finding, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        found = list(_found(arguments))
    except FsmRedirError as error:
        sys.stderr.write(f"not done: {error}\n")
        return 2
    _print("report", _title(arguments.directory))
    for finding in sorted(found, key=lambda each: not each.rejected):
        _print("rejected" if finding.rejected else "note", finding.text)
    for text in UNKNOWABLE:
        _print("not known", text)
    wrong = sum(finding.rejected for finding in found)
    _print("result", f"rejected for {counted(wrong, 'reason')}" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _found(arguments: argparse.Namespace) -> Iterator[Finding]:
    if not arguments.directory.is_dir():
        raise ReportError(
            f"{arguments.directory} is not a directory: name one that --fsm-report wrote"
        )
    now = datetime.now(UTC)
    try:
        yield from findings(arguments.directory, now, arguments.signers)
        report = read_report(arguments.directory)
    except ReportError as error:
        yield Finding(str(error))
        return
    if report.verdict not in _ACCEPTED[arguments.require]:
        yield Finding(
            f"the verdict is {report.verdict}, and --require asks for {arguments.require}"
        )
    age = (now - report.started).days
    if arguments.max_age is not None and age > arguments.max_age:
        yield Finding(f"the run was {age} days ago: --max-age allows {arguments.max_age}")
    if arguments.rerun:
        with tempfile.TemporaryDirectory(prefix="fsmredir-") as target:
            yield from run_again(report, arguments.rerun_in, Path(target))


def _title(directory: Path) -> str:
    try:
        report = read_report(directory)
    except ReportError:
        return str(directory)
    return f"{report.name}{_vendor(report)}: {report.verdict}, {_suite(report)}"


def _vendor(report: Report) -> str:
    organization = report.implementation.get("organization")
    return f" by {organization}" if organization else ""


def _suite(report: Report) -> str:
    started = report.started.date().isoformat()
    return f"judged by {report.suite['name']} {report.suite['version']} on {started}"


def _print(label: str, text: str) -> None:
    sys.stdout.write(f"{label:<10} {one_line(text)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir verify",
        description="Check a report that --fsm-report wrote, without a network: its files, its"
        " catalogue, its verdict and what could have had a say in it.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the directory of the report")
    parser.add_argument(
        "--require",
        choices=tuple(_ACCEPTED),
        default="none",
        help="reject a verdict that is less than this (default: none)",
    )
    parser.add_argument(
        "--max-age", type=int, metavar="DAYS", help="reject a run that is older than this"
    )
    parser.add_argument(
        "--signers",
        type=Path,
        metavar="FILE",
        help="require a signature by one of these keys (ssh-keygen(1), ALLOWED SIGNERS)",
    )
    parser.add_argument(
        "--rerun",
        action="store_true",
        help="run the recorded command again and compare the outcomes. This runs the report's"
        " command and the implementation: use a machine that you can throw away",
    )
    parser.add_argument(
        "--rerun-in",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where to run it: a checkout of the implementation (default: here)",
    )
    return parser
