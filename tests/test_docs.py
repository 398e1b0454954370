"""The documentation is current: generated pages match the code, and links resolve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_fsmredir
from docs.generate import PAGES
from tests.structure import rooms

ROOT = Path(__file__).parents[1]
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BUG = re.compile(r"\b[BF]\d\d\b")
_LINK = re.compile(r"\]\(([^)#:]+)\)")
_OPTION = re.compile(r"--fsm-[a-z-]+")


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_current(name: str) -> None:
    """Catches: a generated page that is out of date."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_public_name_has_a_docstring() -> None:
    """Catches: a public name that the page of public names cannot explain."""
    values = {name: getattr(pytest_fsmredir, name) for name in pytest_fsmredir.__all__}
    constants = {name for name, value in values.items() if isinstance(value, (str, int))}
    assert {name for name, value in values.items() if not value.__doc__} - constants == set()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    """Catches: a link to a file that was moved."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_options_exist(page: Path, pytestconfig: pytest.Config) -> None:
    """Catches: a documented option that was renamed."""
    named = set(_OPTION.findall(page.read_text(encoding="utf-8")))
    unknown = [
        option
        for option in sorted(named)
        if not hasattr(pytestconfig.option, option.removeprefix("--").replace("-", "_"))
    ]
    assert unknown == []


def test_cited_bugs_are_listed() -> None:
    """Catches: a test that cites a bug that this repository does not describe."""
    page = ROOT / "docs" / "reference" / "known-bugs.md"
    listed = set(_BUG.findall(page.read_text(encoding="utf-8")))
    tests = (file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    assert {bug for text in tests for bug in _BUG.findall(text)} - listed == set()


def test_map_of_the_rooms_is_complete() -> None:
    """Catches: a room that CONTRIBUTING does not explain, or one that no longer exists."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = page.partition("| room |")[2].partition("\n\n")[0].splitlines()
    first_cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    assert {room for cell in first_cells for room in re.findall(r"`(\w+)`", cell)} == rooms()
