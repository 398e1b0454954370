"""How programs are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.errors import CommandError
from pytest_fsmredir.procs import run


def test_file_limit_ends_what_writes_without_end(tmp_path: Path) -> None:
    """A program that fills the disk, or one that may not write the image it was told to."""
    file = tmp_path / "file"

    # The limit is set once the program has started.
    script = 'until [ "$(ulimit -f)" = 2048 ]; do :; done; yes >"$1"'

    with pytest.raises(CommandError):
        run(["/bin/sh", "-c", script, "sh", str(file)], file_limit=2048 * 512)
    assert file.stat().st_size == 2048 * 512
