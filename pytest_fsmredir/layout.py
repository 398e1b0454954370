"""Find the shipped folders: next to the package in a checkout, inside it when installed."""

from __future__ import annotations

from pathlib import Path

from pytest_fsmredir.errors import FsmRedirError

_PACKAGE = Path(__file__).resolve().parent


def conformance() -> Path:
    """Return the folder of SPEC.md and the checks."""
    return _shipped("conformance")


def fixtures() -> Path:
    """Return the folder of data files."""
    return _shipped("fixtures")


def _shipped(name: str) -> Path:
    # An editable install leaves the folders where they are in the checkout.
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise FsmRedirError(f"this installation lacks its folder {name!r}; reinstall pytest-fsmredir")
