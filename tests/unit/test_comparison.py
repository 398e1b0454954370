"""The page that compares implementations: its data, and how it words them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copytree

import pytest

from docs._pages import comparison
from docs._pages.capabilities import GROUPS, SUBJECTS, Capability, Difference, Subject
from pytest_fsmredir.errors import ReportError
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.read import REPORT, read_report
from pytest_fsmredir.report.verify.consistency import check_schema
from pytest_fsmredir.suite import catalogue

CAPABILITIES = [each for rows in GROUPS.values() for each in rows]
FOLDERS = [subject.folder for subject in SUBJECTS]
_PATH = re.compile(r"/(?:home|root|tmp|usr/local|var|work)/")


class Reported:
    """A report with some outcomes, for a column of the page."""

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
        self.rows = [
            (None, Row(check=check, variant=Variant("netns", iptables, 4, ""), outcome=outcome))
            for check, each in outcomes.items()
            for iptables, outcome in zip(("nft", "legacy"), each, strict=True)
        ]


def answer(outcomes: Mapping[str, Sequence[Outcome]], **differences: Difference) -> str:
    """Return the cell of a capability that these checks show."""
    subject = Subject("folder", "Name", "how", differences)
    column = comparison.Column(subject, Reported(outcomes))  # type: ignore[arg-type]
    return comparison.cell(Capability("words", tuple(outcomes)), column, [])


@pytest.mark.parametrize("folder", FOLDERS)
def test_report_follows_the_schema(folder: str) -> None:
    """Catches: a report that this version of the suite could not have written."""
    assert list(check_schema(read_report(comparison.REPORTS / folder))) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_report_names_no_path_of_a_machine(folder: str) -> None:
    """Catches: a published report that shows where it was made."""
    text = (comparison.REPORTS / folder / REPORT).read_text(encoding="utf-8")
    assert _PATH.findall(text) == []


def test_every_report_has_a_column() -> None:
    """Catches: a report that nothing shows."""
    assert {folder.name for folder in comparison.REPORTS.iterdir()} == set(FOLDERS)


def test_report_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a page made of a report that was edited by hand."""
    reports = copytree(comparison.REPORTS, tmp_path / "reports")
    file = reports / FOLDERS[0] / REPORT
    document = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**document, "strict": not document["strict"]}), encoding="utf-8")
    monkeypatch.setattr(comparison, "REPORTS", reports)
    with pytest.raises(ReportError, match="changed after the run"):
        comparison.page()


def test_capabilities_name_checks_of_the_catalogue() -> None:
    """Catches: a row that asks a check that does not exist, or the same check twice."""
    named = [check for capability in CAPABILITIES for check in capability.checks]
    assert set(named) <= {check.id for check in catalogue.load().checks}
    assert len(named) == len(set(named))


def test_differences_name_rows_of_the_page() -> None:
    """Catches: a difference by design that no row shows."""
    words = {capability.words for capability in CAPABILITIES}
    assert {each for subject in SUBJECTS for each in subject.differences} <= words


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([Outcome.PASS, Outcome.PASS], "✓ yes"),
        ([Outcome.FAIL, Outcome.FAIL], "✗ no"),
        ([Outcome.PASS, Outcome.FAIL], "✗ no (netns-legacy-v4)"),
        ([Outcome.WARN, Outcome.WARN], "△ no"),
        ([Outcome.UNSUPPORTED, Outcome.UNSUPPORTED], "○ not claimed"),
        ([Outcome.NOT_RUN, Outcome.NOT_RUN], "? not run"),
    ],
)
def test_cell_says_what_the_rows_say(outcomes: list[Outcome], words: str) -> None:
    """Catches: a cell that is better or worse than its checks."""
    assert answer({"OUT-001": outcomes}) == f"[{words}](reference/checks.md#out-001)"


def test_cell_links_to_the_check_that_decides() -> None:
    """Catches: a failure whose link leads to a check that passed."""
    passed, failed = [Outcome.PASS] * 2, [Outcome.FAIL] * 2
    assert answer({"OUT-001": passed, "OUT-002": failed}).endswith("#out-002)")


def test_difference_by_design_is_no_failure() -> None:
    """Catches: a mesh that is blamed for what it documents otherwise."""
    documented = Difference("does something else", "its manual")
    cell = answer({"OUT-001": [Outcome.FAIL] * 2}, words=documented)
    assert "≠ by design" in cell
    assert "no]" not in cell
