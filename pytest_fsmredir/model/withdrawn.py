"""Checks that were taken back. Their ids are never given again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """One check that is no more.

    Attributes:
        id: What it was called.
        since: The version of the suite that no longer has it.
        why: Why it was taken back, in one clause.
    """

    id: str
    since: str
    why: str


WITHDRAWN: tuple[Withdrawn, ...] = ()


def reject_withdrawn(
    where: str, check_id: str, withdrawn: Iterable[Withdrawn] | None = None
) -> None:
    """Say so when somebody asks for a check that was taken back.

    Raises:
        SettingsError: It was; the message says since when and why.
    """
    for each in WITHDRAWN if withdrawn is None else withdrawn:
        if each.id == check_id:
            raise SettingsError(f"{where}: {check_id} was withdrawn in {each.since}: {each.why}")
