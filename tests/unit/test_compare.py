"""Reports side by side: what regressed, in each format."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pytest_fsmredir.cli import compare as command
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.report.changes import Kind, changes
from pytest_fsmredir.report.compare import Comparison, compare
from pytest_fsmredir.report.read import read_report
from pytest_fsmredir.report.render import FORMATS, as_html, as_markdown, as_text
from tests.unit.conftest import Project
from tests.unit.reports import forge, write

HOSTILE = "<script>alert(1)</script>|`x`\x1b[31m"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A folder with the reports old, new and other, of which the last is of another project."""
    project = Project(tmp_path_factory.mktemp("compare"))
    write(project, "old", {"OUT-001": Outcome.FAIL, "OUT-002": Outcome.FAIL})
    write(project, "new", {"OUT-002": Outcome.FAIL, "UID-001": Outcome.FAIL})
    other = write(project, "other", {"OUT-001": Outcome.FAIL})
    forge(other, lambda document: document["implementation"].update(project="other"))
    return project


def compared(project: Project, *names: str) -> Comparison:
    return compare([read_report(project.path / name) for name in names])


def test_changes_are_told_apart(project: Project) -> None:
    """Catches: a regression that hides among the improvements."""
    found = changes(read_report(project.path / "old"), read_report(project.path / "new"))
    assert [(change.check, change.kind) for change in found] == [
        ("OUT-001", Kind.PASSES),
        ("UID-001", Kind.FAILS),
    ]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("pass", "not-run", Kind.UNTESTED),
        ("pass", "unsupported", Kind.UNTESTED),
        ("pass", "waived", Kind.FAILS),
        ("pass", "warn", Kind.FAILS),
        ("pass", "error", Kind.FAILS),
        ("not-run", "fail", Kind.FAILS),
        ("not-run", "pass", Kind.TESTED),
        ("fail", "waived", Kind.OTHER),
        ("waived", "pass", Kind.PASSES),
        ("warn", "pass", Kind.PASSES),
        ("fail", "not-run", Kind.OTHER),
    ],
)
def test_change_has_one_meaning(project: Project, before: str, after: str, kind: Kind) -> None:
    """Catches: a check that is no longer run, or waived, and does not count as lost."""
    reports = []
    for name, outcome in (("a", before), ("b", after)):
        document = json.loads((project.path / "new" / "report.json").read_text())
        row = next(each for each in document["checks"] if each["id"] == "OUT-003")
        row["outcome"] = outcome
        (project.path / f"{name}.json").write_text(json.dumps(document))
        reports.append(read_report(project.path / f"{name}.json"))
    assert [change.kind for change in changes(*reports)] == [kind]


def test_new_or_withdrawn_check_is_no_regression(project: Project) -> None:
    """Catches: a suite whose next version fails every implementation."""
    file = project.path / "smaller.json"
    document = json.loads((project.path / "new" / "report.json").read_text())
    document["checks"] = [row for row in document["checks"] if row["id"] != "UID-001"]
    file.write_text(json.dumps(document))
    smaller, new = read_report(file), read_report(project.path / "new")
    assert [change.kind for change in changes(smaller, new)] == [Kind.NEW_FAILURE]
    assert list(changes(new, smaller)) == []


@pytest.mark.parametrize("style", FORMATS)
def test_command_reports_a_regression(
    project: Project, capsys: pytest.CaptureFixture[str], style: str
) -> None:
    """Catches: a regression that leaves the exit status of CI at 0."""
    old, new, other = (str(project.path / name) for name in ("old", "new", "other"))
    assert command.main([old, new, "--format", style]) == 1
    assert "Regression: sh init.sh" in capsys.readouterr().out
    assert command.main([old, other, "--format", style]) == 0
    assert "nothing can regress" in capsys.readouterr().out
    assert command.main([new, new, "--format", style]) == 0
    assert "Every outcome is the same" in capsys.readouterr().out.replace("every", "Every")


def test_result_goes_to_a_file(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a page that only a redirection of the shell can save."""
    target = project.path / "page.html"
    reports = [str(project.path / name) for name in ("old", "new")]
    assert command.main([*reports, "--format=html", f"--output={target}"]) == 1
    assert target.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == ""


def test_what_is_no_report_is_not_compared(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a traceback, or status 1, for a misspelled directory."""
    old = str(project.path / "old")
    (project.path / "list.json").write_text("[]")
    for path in (str(project.path / "nowhere"), str(project.path / "list.json"), __file__):
        assert command.main([old, path]) == 2
        assert capsys.readouterr().err.startswith("not done: ")
    assert command.main([old]) == 2


def test_several_implementations_stand_side_by_side(project: Project) -> None:
    """Catches: a table without the third report, or with rows that are the same everywhere."""
    comparison = compared(project, "old", "new", "other")
    assert [line.check for line in comparison.lines] == ["OUT-001", "OUT-002", "UID-001"]
    assert comparison.lines[0].outcomes == ("fail", "pass", "fail")
    assert len(comparison.steps) == 1
    for text in (as_text(comparison), as_markdown(comparison), as_html(comparison)):
        assert "UID-001" in text.partition("he same everywhere")[2]


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_hostile_texts_stay_text(project: Project, tmp_path: Path) -> None:
    """Catches: a report that runs a script in its reader's browser, or breaks a table."""
    documents = []
    for number in range(2):
        document = json.loads((project.path / "new" / "report.json").read_text())
        document["implementation"].update(project=HOSTILE, organization=HOSTILE)
        row = next(each for each in document["checks"] if each["id"] == "OUT-003")
        row.update(title=HOSTILE, reason=HOSTILE, outcome="fail" if number else "pass")
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
        documents.append(read_report(tmp_path / f"{number}.json"))
    comparison = compare(documents)
    page, marked = as_html(comparison), as_markdown(comparison)
    assert "script" not in Tags(page).tags
    assert not re.search(r"(?<!\\)<script", marked)
    for row in [line for line in marked.splitlines() if "OUT-003" in line]:
        assert row.replace("\\|", "").count("|") == 6
    assert "\x1b" not in page + marked + as_text(comparison)


def test_page_needs_no_network(project: Project) -> None:
    """Catches: a page that loads a font, or reports its reader."""
    page = as_html(compared(project, "old", "new"))
    assert "http" not in page
    assert not {"link", "img", "iframe", "script"} & set(Tags(page).tags)
