"""The search for the options file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.config.default_file import project_file


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """A directory two levels below one that has an options file."""
    (tmp_path / "fsmredir.yaml").write_text("impl: reference")
    directory = tmp_path / "tests" / "unit"
    directory.mkdir(parents=True)
    return directory


def test_file_of_a_directory_above_is_found(below: Path, tmp_path: Path) -> None:
    """Catches: no options in a subdirectory, which pytest takes as root without an ini file."""
    assert project_file(below) == tmp_path / "fsmredir.yaml"
    (below / "fsmredir.yaml").write_text("")
    assert project_file(below) == below / "fsmredir.yaml"


def test_search_ends_at_the_top_of_a_repository(below: Path) -> None:
    """Catches: options taken from an unrelated project that contains this repository."""
    (below / ".git").write_text("gitdir: elsewhere")
    assert project_file(below) is None


def test_file_that_other_users_can_write_is_skipped(below: Path, tmp_path: Path) -> None:
    """Catches: a command that another user put into a shared directory and that runs as root."""
    tmp_path.chmod(0o777)
    assert project_file(below) is None
    tmp_path.chmod(0o755)
    (tmp_path / "fsmredir.yaml").chmod(0o666)
    assert project_file(below) is None
