"""The commands of the journeys in the page on debugging print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "debugging.md"

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Journey:
    """A section of the page that has commands.

    Attributes:
        title: Its heading.
        files: The files that it shows, by name.
        sessions: Its commands, each with the output that the page shows.
    """

    title: str
    files: dict[str, str] = field(default_factory=dict)
    sessions: list[tuple[str, str]] = field(default_factory=list)


def journeys() -> Iterator[Journey]:
    """Yield the sections that show a file and commands."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        journey = Journey(section.partition("\n")[0])
        for language, name, text in _FENCE.findall(section):
            if name:
                journey.files[name] = text
            elif language == "console":
                journey.sessions += commands(text)
        if journey.files:
            yield journey


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block, each with its output."""
    for part in re.split(r"^\$ ", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def pattern(shown: str) -> str:
    """Return a pattern for output in which three dots stand for anything."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r" *\n"
        for line in shown.splitlines()
    ]
    return "".join(lines)


JOURNEYS = list(journeys())


def test_page_has_its_journeys() -> None:
    """Catches: an extraction that finds nothing to run."""
    assert [len(journey.files) for journey in JOURNEYS] == [1, 2, 1]
    assert all(len(journey.sessions) >= 4 for journey in JOURNEYS)


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.title)
def test_commands_print_what_the_page_says(journey: Journey, tmp_path: Path) -> None:
    """Catches: a journey whose commands or results have changed."""
    for name, text in journey.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": path,
        "COLUMNS": "100",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    for command, shown in journey.sessions:
        done = subprocess.run(
            ["/bin/bash", "-c", command], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert re.fullmatch(pattern(shown), done.stdout), f"{command}\n{done.stdout}{done.stderr}"
