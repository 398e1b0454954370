"""The data file of this version's catalogue, which later versions need to verify its reports."""

from __future__ import annotations

from pytest_fsmredir.report.known import FOLDER, catalogue_text
from pytest_fsmredir.report.version import suite_version
from pytest_fsmredir.suite import catalogue


def file() -> str:
    """Return the path of the data file in the folder of fixtures."""
    return f"{FOLDER}/{suite_version()}.json"


def page() -> str:
    """Return the data file."""
    return catalogue_text(suite_version(), catalogue.load())
