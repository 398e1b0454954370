"""``python -m pytest_fsmredir`` as a program in a pipeline."""

from __future__ import annotations

import os
import subprocess
import sys


def test_command_whose_reader_has_ended_says_nothing() -> None:
    """Catches: a traceback under ``python -m pytest_fsmredir … | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pytest_fsmredir", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
