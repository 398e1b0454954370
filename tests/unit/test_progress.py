"""The progress of long sweeps, on a terminal and in a log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pytest_fsmredir.plugin.progress import SweepProgress


class Screen:
    """A terminal reporter that records its output."""

    def __init__(self, *, isatty: bool) -> None:
        self.isatty, self.lines = isatty, [""]

    def write_line(self, line: str) -> None:
        self.lines.append(line)

    def rewrite(self, line: str, *, erase: bool = False) -> None:
        self.lines.append(f"\r{line}")

    def ensure_newline(self) -> None:
        pass


def progress(*, isatty: bool, total: int) -> list[str]:
    """Return the output of a whole sweep."""
    screen = Screen(isatty=isatty)
    config = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=lambda _name: None))
    watch = SweepProgress(cast("pytest.Config", config), cast("pytest.TerminalReporter", screen))
    for done in range(1, total + 1):
        watch("OUT-002", done, total)
    return screen.lines[1:]


def test_sweep_shows_a_line_every_quarter_in_a_log() -> None:
    """Catches: a CI log with a line for every port."""
    assert progress(isatty=False, total=8001) == [
        f"OUT-002: {percent}% of 8,001 flows" for percent in (25, 50, 75, 100)
    ]


def test_sweep_counts_on_a_terminal_and_cleans_up() -> None:
    """Catches: a counter that stays on the screen under the next line."""
    lines = progress(isatty=True, total=8001)
    assert lines[0] == "\rOUT-002: 1 of 8,001 flows"
    assert lines[-1] == "\r"


def test_short_sweep_shows_nothing() -> None:
    """Catches: a line for each check that dials a few ports."""
    assert progress(isatty=False, total=100) == []
