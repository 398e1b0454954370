"""How programs are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.errors import CommandError
from pytest_fsmredir.procs import run


def test_file_limit_ends_what_writes_without_end(tmp_path: Path) -> None:
    """A program that fills the disk, or one that may not write the image it was told to."""
    argv = ["dd", "if=/dev/zero", f"of={tmp_path / 'file'}", "bs=4096", "count=4", "status=none"]

    run(argv, file_limit=16384)
    with pytest.raises(CommandError):
        run(argv, file_limit=8192)
