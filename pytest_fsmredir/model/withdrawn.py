"""Withdrawn checks. Their ids are never reused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """One withdrawn check.

    Attributes:
        id: Id of the check.
        since: The first version of the suite without the check.
        why: The reason for the withdrawal, in one clause.
    """

    id: str
    since: str
    why: str


WITHDRAWN: tuple[Withdrawn, ...] = ()


def reject_withdrawn(
    where: str, check_id: str, withdrawn: Iterable[Withdrawn] | None = None
) -> None:
    """Reject the id of a withdrawn check.

    Raises:
        SettingsError: The check is withdrawn; the message gives the version and the reason.
    """
    for each in WITHDRAWN if withdrawn is None else withdrawn:
        if each.id == check_id:
            raise SettingsError(f"{where}: {check_id} was withdrawn in {each.since}: {each.why}")
