"""The version of the Pipy that acts as sidecar."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.sidecars.pipy import pipy_version

TOLD = """\
Version          : 1.5.18
Commit           : 23ca70c9847d01f75b7ad4e907d509882144da3d
Commit Date      : Fri, 12 Jun 2026 23:49:30 +0800
"""


def program(file: Path, prints: str) -> Path:
    file.write_text(f"#!/bin/sh\ncat <<'END'\n{prints}END\n")
    file.chmod(0o755)
    return file


def test_release_and_commit_are_named(tmp_path: Path) -> None:
    """Catches: a report without the version of the Pipy that a verdict is based on."""
    assert pipy_version(program(tmp_path / "pipy", TOLD)) == "Pipy 1.5.18, commit 23ca70c9847d"


def test_another_program_is_refused_before_the_first_check(tmp_path: Path) -> None:
    """Catches: 400 errors about ports that do not open, for one wrong path."""
    other = program(tmp_path / "other", "usage: other\n")
    with pytest.raises(PreflightError, match=f"{other} is not Pipy"):
        pipy_version(other)


@pytest.mark.parametrize("mode", [0o644, None])
def test_program_that_does_not_start_is_named(tmp_path: Path, mode: int | None) -> None:
    """Catches: a traceback for a wrong path of Pipy."""
    file = tmp_path / "pipy"
    if mode is not None:
        file.touch(mode)
    with pytest.raises(PreflightError, match=f"{file} does not start"):
        pipy_version(file)
