"""Check the files of a report: their digests, and that they say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import yaml

from pytest_fsmredir.model.checks import Catalogue
from pytest_fsmredir.model.outcomes import EVIDENCE, Outcome
from pytest_fsmredir.report.known import present
from pytest_fsmredir.report.page.page import PAGE, page
from pytest_fsmredir.report.read import Report
from pytest_fsmredir.report.suites import SKIPPED, suite_name
from pytest_fsmredir.report.sums import SIGNATURE, SUMS, digests_of, sums_text
from pytest_fsmredir.report.verify.finding import Finding, note

_ELEMENTS = {Outcome.FAIL: "failure", Outcome.ERROR: "error"}
_ELEMENTS |= dict.fromkeys(SKIPPED, "skipped")


def check_digests(directory: Path) -> Iterator[Finding]:
    """Compare every file of a directory with the file of digests."""
    found = [file for file in sorted(directory.rglob("*")) if not file.is_dir()]
    yield from (
        Finding(f"{file.relative_to(directory)} is a symbolic link: a report has files only")
        for file in found
        if file.is_symlink()
    )
    named = {SUMS, SIGNATURE}
    files = [
        file
        for file in found
        if not file.is_symlink() and file.relative_to(directory).as_posix() not in named
    ]
    try:
        text = (directory / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        yield Finding(f"{SUMS} is missing or is not text: nothing protects the files")
        return
    digests = digests_of(files, directory)
    listed = _listed(text)
    if sums_text(listed) != text:
        yield Finding(f"{SUMS} is not as the suite writes it: sorted lines 'DIGEST  FILE'")
    for name in sorted(listed.keys() | digests.keys()):
        if name not in digests:
            yield Finding(f"{name} is missing, but {SUMS} lists it")
        elif name not in listed:
            yield Finding(f"{name} is not part of the report: {SUMS} does not list it")
        elif listed[name] != digests[name]:
            yield Finding(f"{name} was changed: its digest is not the one in {SUMS}")


def _listed(text: str) -> dict[str, str]:
    pairs = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in pairs}


def check_evidence(report: Report) -> Iterator[Finding]:
    """Check that the directories of evidence that the report names are there."""
    folder = report.file.parent / EVIDENCE
    for named in report.run.get("evidence", ()):
        # The report has the path from the directory of the run.
        if not (folder / PurePosixPath(named).name).is_dir():
            yield Finding(f"the evidence {named} is named, but it is not in {EVIDENCE}/")


def check_yaml(report: Report) -> Iterator[Finding]:
    """Compare ``report.yaml`` with ``report.json``."""
    file = report.file.with_name("report.yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C version if libyaml is present
    try:
        document: Any = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - safe
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        yield Finding("report.yaml cannot be read as YAML")
        return
    if document != report.document:
        yield Finding(f"report.yaml and report.json differ in: {_differing(document, report)}")


def _differing(document: object, report: Report) -> str:
    if not isinstance(document, dict):
        return "everything"
    keys = document.keys() | report.document.keys()
    return ", ".join(
        sorted(str(key) for key in keys if document.get(key) != report.document.get(key))
    )


def check_junit(report: Report, catalogue: Catalogue) -> Iterator[Finding]:
    """Compare ``junit.xml`` with the rows of the report."""
    try:
        text = report.file.with_name("junit.xml").read_text(encoding="utf-8")
        # Only a document type can define entities, and the suite writes none.
        root = ET.fromstring(text) if "<!DOCTYPE" not in text else None  # noqa: S314
    except (OSError, ValueError, ET.ParseError):
        root = None
    if root is None:
        yield Finding("junit.xml cannot be read as XML without a document type")
        return
    expected = {
        (suite_name(row.variant), f"{row.check} {catalogue[row.check].title}"): _ELEMENTS.get(
            row.outcome, ""
        )
        for _, row in report.rows
        if row.check in catalogue
    }
    cases = {
        (suite.get("name"), case.get("name")): next(
            (element.tag for element in case if element.tag != "system-out"), ""
        )
        for suite in root
        for case in suite
        if suite.get("name") != "harness"
    }
    if generated := set(report.suite.get("generated", ())):
        cases = {key: tag for key, tag in cases.items() if str(key[1])[:7] not in generated}
    differing = sorted(
        f"{name} ({suite})"
        for suite, name in expected.keys() | cases.keys()
        if expected.get((str(suite), str(name))) != cases.get((suite, name))
    )
    if differing:
        yield Finding(
            f"junit.xml and report.json differ in {len(differing)} cases, such as {differing[0]}"
        )


def check_page(report: Report) -> Iterator[Finding]:
    """Compare the page with the one that this version makes of ``report.json``.

    The page of another version can look different, so a difference rejects no report.
    """
    file = report.file.with_name(PAGE)
    if not file.exists() or report.suite["catalogue"] != present().digest:
        return
    try:
        differs = file.read_text(encoding="utf-8") != page(report)
    except (OSError, UnicodeDecodeError):
        differs = True
    if differs:
        yield note(f"{PAGE} is not what this version makes of report.json: read report.json")
