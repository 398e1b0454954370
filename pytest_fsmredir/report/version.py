"""The version of the suite."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def suite_version() -> str:
    """Return the version of this package."""
    return version("pytest-fsmredir")
