"""Temporary directories that are removed even when this process is killed."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path

from pytest_fsmredir import procs

# Standard input reaches its end when this process ends, even by SIGKILL. PATH may lack rm.
_REMOVE_AFTERWARDS = 'PATH=/usr/bin:/bin${PATH:+:$PATH}; read -r line; rm -rf -- "$1"'

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing there is guessed: mkdtemp makes it ours alone


def directory(purpose: str) -> Path:
    """Return a new temporary directory. It is removed when this process ends."""
    return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=_base()))


@cache
def _base() -> Path:
    """Return the one directory of this process that holds all the others."""
    base = Path(tempfile.mkdtemp(prefix="fsmredir-", dir=_parent()))
    guardian = procs.Survivor(["/bin/sh", "-c", _REMOVE_AFTERWARDS, "sh", str(base)])
    atexit.register(guardian.release)
    return base


def _parent() -> Path | None:
    """Return the parent directory: in memory if possible, because every pod writes small files."""
    if "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK | os.X_OK):
        return None
    return None if os.statvfs(_IN_MEMORY).f_flag & os.ST_NOEXEC else _IN_MEMORY
