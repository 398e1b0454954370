"""Temporary directories that are removed even when this process is killed."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

from pytest_fsmredir import procs

# Its standard input ends when we do, whatever we die of.
_REMOVE_AFTERWARDS = 'read -r line; rm -rf -- "$1"'


def directory(purpose: str) -> Path:
    """Return a new temporary directory; it is removed when this process ends."""
    return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=_base()))


@cache
def _base() -> Path:
    """Return the one directory of this process that holds all the others."""
    base = Path(tempfile.mkdtemp(prefix="fsmredir-"))
    guardian = procs.Survivor(["/bin/sh", "-c", _REMOVE_AFTERWARDS, "sh", str(base)])
    atexit.register(guardian.release)
    return base
