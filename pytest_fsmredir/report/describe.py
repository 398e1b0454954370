"""Describing the checks without running them: the list, and one check in full."""

from __future__ import annotations

import json

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.spec.checks import Catalogue


def listing(catalogue: Catalogue, style: str) -> str:
    """Return every check, as a table or as JSON."""
    if style == "json":
        return json.dumps([check.as_dict() for check in catalogue.checks], indent=2)
    return "\n".join(
        f"{check.id:<9} {check.level:<6} {check.profile:<11} {check.title}"
        for check in catalogue.checks
    )


def explanation(catalogue: Catalogue, check_id: str) -> str:
    """Return all there is to know about one check.

    Raises:
        SettingsError: There is no check of that id.
    """
    if check_id not in catalogue:
        raise SettingsError(f"--fsm-explain: no check is called {check_id!r}; see --fsm-list")
    check = catalogue[check_id]
    return f"{check.id} {check.title}\n  {check.requirement}"
