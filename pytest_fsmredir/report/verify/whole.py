"""Check a whole report: every question in turn, each answered in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pytest_fsmredir.report.known import present, releases, with_digest
from pytest_fsmredir.report.read import Report, read_report
from pytest_fsmredir.report.verify import circumstances, consistency, files
from pytest_fsmredir.report.verify.finding import Finding
from pytest_fsmredir.report.verify.signature import check_signature

UNKNOWABLE = (
    "whether the run was honest: the vendor ran it on its own machine, and could have changed the"
    " suite, the kernel or the report as a whole. --rerun runs the recorded command again",
    "whether the tested version is the one that users get",
)
"""What no check of files can find."""


def findings(directory: Path, now: datetime, signers: Path | None = None) -> Iterator[Finding]:
    """Yield what is wrong with a report, and what its reviewer should know.

    Args:
        directory: The directory that ``--fsm-report`` wrote.
        now: The present time, with its time zone.
        signers: The reviewer's file of allowed signers; None if any key may sign.

    Raises:
        ReportError: There is no report.
        PreflightError: The schema cannot be checked.
    """
    yield from files.check_digests(directory)
    yield from check_signature(directory, signers)
    report = read_report(directory)
    broken = list(consistency.check_schema(report))
    yield from broken
    if not broken:  # the other questions need what the schema promises
        yield from _contents(report, now)


def _contents(report: Report, now: datetime) -> Iterator[Finding]:
    release = with_digest(report.suite["catalogue"])
    if release is None:
        known = ", ".join({each.version: None for each in (*releases(), present())})
        yield Finding(
            f"the catalogue {report.suite['catalogue'][:19]}... of version"
            f" {report.suite['version']} is not that of a known release ({known}): upgrade"
            " pytest-fsmredir, or reject a suite that was changed"
        )
    else:
        yield from consistency.check_rows(report, release)
        yield from consistency.check_outcomes(report, release.catalogue)
        yield from circumstances.check_waivers(report, release.catalogue)
        yield from files.check_junit(report, release.catalogue)
    yield from files.check_yaml(report)
    yield from files.check_page(report)
    yield from files.check_evidence(report)
    yield from consistency.check_judgement(report)
    yield from circumstances.check_withdrawn(report)
    yield from circumstances.check_run(report, now)
    yield from circumstances.name_options(report)
