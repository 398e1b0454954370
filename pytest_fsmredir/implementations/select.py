"""From settings to the implementation under test."""

from __future__ import annotations

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Implementation
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.options import Settings
from pytest_fsmredir.spec.features import Feature


def select(settings: Settings) -> Implementation:
    """Return the implementation that the settings name.

    Raises:
        SettingsError: There is none of that name.
    """
    if settings.init_cmd:
        return InitCommand(settings.init_cmd)
    if settings.impl == "reference":
        from pytest_fsmredir.implementations.reference.programming import Reference

        return Reference()
    raise SettingsError(f"--fsm-impl: no implementation is called {settings.impl!r}: reference")


def claimed_features(
    implementation: Implementation, changes: tuple[str, ...]
) -> frozenset[Feature]:
    """Return what is claimed after the user's ``+a`` and ``-b``.

    Raises:
        SettingsError: A change is malformed or names no feature.
    """
    claimed = set(implementation.features)
    for change in changes:
        sign, name = change[:1], change[1:]
        if sign not in "+-" or name not in list(Feature):
            raise SettingsError(
                f"--fsm-features: {change!r} is not + or - and one of {', '.join(Feature)}"
            )
        if sign == "+":
            claimed.add(Feature(name))
        else:
            claimed.discard(Feature(name))
    return frozenset(claimed)
