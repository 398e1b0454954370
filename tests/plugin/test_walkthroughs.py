"""The pages that lead a reader from step to step: their files and commands give their outputs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"tutorial.md": 3, "how-to/reproduce.md": 4, "how-to/fuzz.md": 2}
"""The pages, with the number of their outputs."""

_BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield the titled code blocks of a page."""
    for found in _BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        yield found[1], found[2]


def printed(project: Project, command: str) -> str:
    """Run a command of a page and return what it prints."""
    program, *arguments = shlex.split(command)
    if program == "pytest":
        return project.pytest(*arguments).output
    words = [sys.executable if program == "python" else program, *arguments]
    done = subprocess.run(
        words, cwd=project.path, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("page", PAGES)
def test_steps_give_the_printed_output(project: Project, page: str) -> None:
    """Catches: a walkthrough whose files, commands and outputs do not belong together."""
    output, outputs = "", 0
    for title, text in blocks(page):
        if title == "command":
            output = printed(project, text)
        elif title == "output":
            outputs += 1
            missing = [line for line in text.splitlines() if line not in output]
            assert missing == [], output
        else:
            (project.path / title).write_text(text)
            (project.path / title).chmod(0o755)
    assert outputs == PAGES[page]
