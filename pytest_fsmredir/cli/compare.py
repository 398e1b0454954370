"""``compare``: several reports side by side.

Exit status: 0 no regression, 1 a regression, 2 the reports cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.errors import ReportError
from pytest_fsmredir.report.compare import compare
from pytest_fsmredir.report.read import read_report
from pytest_fsmredir.report.render import FORMATS


def main(argv: Sequence[str]) -> int:
    """Compare reports, print or write the result, and return the exit status."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if len(arguments.reports) < 2:
            parser.error("name at least two reports")
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        comparison = compare([read_report(path) for path in arguments.reports])
        text = FORMATS[arguments.format](comparison)
        if arguments.output:
            arguments.output.write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
    except (ReportError, OSError) as error:
        sys.stderr.write(f"not done: {error}\n")
        return 2
    return 1 if comparison.regressed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir compare",
        description="Compare reports that --fsm-report wrote. A report is compared with the report"
        " before it of the same project; other projects are shown side by side.",
    )
    parser.add_argument(
        "reports", nargs="+", type=Path, metavar="DIR", help="reports, the oldest first"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="default: text")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to this file (default: standard output)"
    )
    return parser
