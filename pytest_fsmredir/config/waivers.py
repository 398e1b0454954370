"""Waivers: known failures that the user accepts for a stated reason and time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from pytest_fsmredir.config.identity import is_link
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.checks import GATE, Catalogue, Level
from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.model.withdrawn import reject_withdrawn
from pytest_fsmredir.text import nearest

_KEYS = ("id", "reason", "link", "expires")
_VIOLATED = (Outcome.FAIL, Outcome.WARN, Outcome.NOTE, Outcome.WAIVED, Outcome.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One check whose failure does not count.

    Attributes:
        id: Id of the check.
        reason: Why the failure is accepted.
        link: The issue that tracks the fix.
        expires: The last day on which the waiver applies; None for no end.
    """

    id: str
    reason: str
    link: str
    expires: date | None = None

    def as_dict(self) -> dict[str, str]:
        """Return plain values for a report."""
        until = {"expires": self.expires.isoformat()} if self.expires else {}
        return {"id": self.id, "reason": self.reason, "link": self.link, **until}


def read_waivers(document: object, where: str) -> tuple[Waiver, ...]:
    """Return the waivers of a file.

    Args:
        document: The value of the key ``waivers``.
        where: The file, for messages.

    Raises:
        SettingsError: A waiver is malformed, or two waivers are for the same check.
    """
    if not isinstance(document, list):
        raise SettingsError(f"{where}: waivers: {document!r} must be a list")
    waivers = tuple(_read(item, f"{where}: waivers[{n}]") for n, item in enumerate(document))
    ids = [waiver.id for waiver in waivers]
    for double in sorted({each for each in ids if ids.count(each) > 1}):
        raise SettingsError(f"{where}: waivers: {double} is waived twice")
    return waivers


def reject_unusable(waivers: Iterable[Waiver], catalogue: Catalogue, today: date) -> None:
    """Require that every waiver is for a check that can fail, and has not expired.

    Raises:
        SettingsError: A waiver is for an unknown or withdrawn check, for a check that cannot
            fail, or has expired.
    """
    for waiver in waivers:
        reject_withdrawn("waiver", waiver.id)
        if waiver.id not in catalogue:
            known = [check.id for check in catalogue.checks]
            raise SettingsError(
                f"waiver {waiver.id}: there is no such check{nearest(waiver.id, known)}"
            )
        if catalogue[waiver.id].level is Level.INFO:
            raise SettingsError(
                f"waiver {waiver.id}: this check has level INFO and never fails; remove the waiver"
            )
        if waiver.id == GATE:
            raise SettingsError(
                f"waiver {waiver.id}: no other check runs unless this one passes; remove the waiver"
            )
        if waiver.expires is not None and waiver.expires < today:
            raise SettingsError(
                f"waiver {waiver.id} expired on {waiver.expires}: fix the failure, or set a new"
                f" date ({waiver.link})"
            )


def stale(waivers: Iterable[Waiver], rows: Iterable[Row]) -> list[Waiver]:
    """Return the waivers of checks that passed on every variant, so that they waive nothing."""
    outcomes: dict[str, set[Outcome]] = {}
    for row in rows:
        outcomes.setdefault(row.check, set()).add(row.outcome)
    return [waiver for waiver in waivers if _only_passed(outcomes.get(waiver.id, set()))]


def _only_passed(outcomes: set[Outcome]) -> bool:
    return Outcome.PASS in outcomes and outcomes.isdisjoint(_VIOLATED)


def _read(item: object, where: str) -> Waiver:
    if not isinstance(item, Mapping):
        raise SettingsError(f"{where}: {item!r} must be a mapping with id, reason and link")
    for key in item:
        if key not in _KEYS:
            raise SettingsError(f"{where}.{key}: no such key{nearest(str(key), _KEYS)}")
    texts = {key: _text(item.get(key, ""), f"{where}.{key}") for key in _KEYS}
    if not texts["id"]:
        raise SettingsError(f"{where} has no id")
    named = f"{where} ({texts['id']})"
    if not texts["reason"]:
        raise SettingsError(f"{named} has no reason: say why the failure is accepted")
    if not is_link(texts["link"]):
        raise SettingsError(
            f"{named} has no link: give the http or https URL of the issue that tracks the fix"
        )
    expires = _day(texts["expires"], f"{where}.expires") if texts["expires"] else None
    return Waiver(id=texts["id"], reason=texts["reason"], link=texts["link"], expires=expires)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where}: {value!r} must be a string")
    return value.strip()


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{where}: {text!r} must be a date (YYYY-MM-DD)") from None
