"""Temporary directories that are removed even when this process is killed."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

from pytest_fsmredir import procs

# Standard input reaches its end when this process ends, even by SIGKILL. PATH may lack rm.
_REMOVE_AFTERWARDS = 'PATH=/usr/bin:/bin${PATH:+:$PATH}; read -r line; rm -rf -- "$1"'

_numbers = count(1)
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing there is guessed: mkdtemp makes it ours alone


def directory(purpose: str, inside: Path | None = None) -> Path:
    """Return a new temporary directory. It is removed when this process ends.

    Args:
        purpose: The start of its name.
        inside: A temporary directory of this process to hold it; None for the common one.
    """
    made = (inside or _base()) / f"{purpose}-{os.getpid()}-{next(_numbers)}"
    made.mkdir(mode=0o700)
    return made


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
