"""How programs are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.errors import CommandError
from pytest_fsmredir.procs import run


def test_file_limit_ends_what_writes_without_end(tmp_path: Path) -> None:
    """A program that fills the disk, or one that may not write the image it was told to."""
    file = tmp_path / "file"

    with pytest.raises(CommandError):
        run(["/bin/sh", "-c", 'yes >"$1"', "sh", str(file)], file_limit=1024 * 1024)
    assert file.stat().st_size == 1024 * 1024
