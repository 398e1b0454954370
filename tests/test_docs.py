"""The documentation is true: generated pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_LINK = re.compile(r"\]\(([^)#:]+)\)")
_OPTION = re.compile(r"--fsm-[a-z-]+")


def test_check_list_is_current() -> None:
    """A page that lists checks as they were some commits ago."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf-8") == generate.page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file that was moved."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path, pytestconfig: pytest.Config) -> None:
    """A documented option that was renamed."""
    named = set(_OPTION.findall(page.read_text(encoding="utf-8")))
    unknown = [
        option
        for option in sorted(named)
        if not hasattr(pytestconfig.option, option.removeprefix("--").replace("-", "_"))
    ]
    assert unknown == []
