"""A headless Chromium for the tests of pages, and the page that they look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_fsmredir.report.page.page import PAGE
from tests.browser.driven import DRIVER, Browser, found
from tests.unit.conftest import Project
from tests.unit.pages import hostile_report


def _lacking() -> str:
    """Return what these tests need and this machine lacks; empty if it has all."""
    programs = [] if found() else ["chromium"]
    programs += [] if shutil.which(DRIVER) else [DRIVER]
    modules = [name for name in ("selenium", "axe_core_python") if find_spec(name) is None]
    if not programs and not modules:
        return ""
    return (
        f"without {', '.join([*programs, *modules])}: apt-get install chromium chromium-driver,"
        " pip install -e '.[dev]'"
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with the page of a report. It fails instead of skipping where CI requires it."""
    if lacking := _lacking():
        if os.environ.get("FSM_TEST_BROWSER") == "required":
            pytest.fail(lacking)
        pytest.skip(lacking)
    directory = hostile_report(Project(tmp_path_factory.mktemp("report")))
    with Browser.opened(directory / PAGE) as browser:
        yield browser


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the screenshots: FSM_SCREENSHOTS, or a temporary one."""
    named = os.environ.get("FSM_SCREENSHOTS")
    directory = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
