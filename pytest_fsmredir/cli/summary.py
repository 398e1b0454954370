"""``summary``: show a report on CI.

Exit status: 0 done, 2 the report cannot be read or a file cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.errors import ReportError
from pytest_fsmredir.report.page.page import page
from pytest_fsmredir.report.publish import badge, summary, workflow_commands
from pytest_fsmredir.report.read import read_report

_WRITTEN = ("annotations", "append_to", "badge", "html", "output")
"""Without any of these, the summary is printed."""


def main(argv: Sequence[str]) -> int:
    """Print or write what the arguments ask for, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        report = read_report(arguments.directory)
        if arguments.badge:
            arguments.badge.write_text(badge(report), encoding="utf-8")
        if arguments.html:
            arguments.html.write_text(page(report), encoding="utf-8")
        if arguments.append_to:
            # A job's steps share the file of its summary.
            with arguments.append_to.open("a", encoding="utf-8") as file:
                file.write(summary(report))
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(f"verdict={report.verdict}\n")
        if arguments.annotations:
            sys.stdout.writelines(f"{line}\n" for line in workflow_commands(report))
        if not any(getattr(arguments, name) for name in _WRITTEN):
            sys.stdout.write(summary(report))
    except (ReportError, OSError) as error:
        sys.stderr.write(f"not done: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir summary",
        description="Show a report on CI. Without an option, print a summary in Markdown.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the directory of the report")
    parser.add_argument(
        "--annotations",
        action="store_true",
        help="print workflow commands of GitHub (::error) that name each failure and its cause",
    )
    parser.add_argument(
        "--append-to",
        type=Path,
        metavar="FILE",
        help="append the summary to a file, such as $GITHUB_STEP_SUMMARY",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="append verdict=... to a file: $GITHUB_OUTPUT"
    )
    parser.add_argument("--badge", type=Path, metavar="FILE", help="write a badge in SVG")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page of the report")
    return parser
