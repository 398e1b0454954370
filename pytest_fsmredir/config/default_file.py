"""Find the options file of a project if no option names one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

NAME = "fsmredir.yaml"

_ENDS = (".git", ".hg")  # in the top directory of a repository


def project_file(root: Path) -> Path | None:
    """Return the options file of pytest's root directory, or of the nearest directory above it.

    If a project has no ini-file, pytest uses the current directory as root directory, so the file
    may be above it. The search ends at the top of a repository and at the home directory. It skips
    a file above the root directory that other users can write: its commands run as root.
    """
    for directory in (root, *root.parents):
        file = directory / NAME
        if file.is_file() and (directory == root or _is_ours(file)):
            return file
        if directory == Path.home() or any((directory / end).exists() for end in _ENDS):
            return None
    return None


def _is_ours(file: Path) -> bool:
    return all(
        found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH
        for found in (file.stat(), file.parent.stat())
    )
