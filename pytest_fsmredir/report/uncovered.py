"""Say in one sentence that an implementation leaves out TCP over IPv6, whose checks fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pytest_fsmredir.model.outcomes import Outcome, Row


class _Way(NamedTuple):
    """A direction, the plainest check of it, and the check that no flow of it leaks over IPv6."""

    name: str
    plain: str
    leaks: str


_WAYS: Final = (_Way("outbound", "OUT-001", "V6-001"), _Way("inbound", "IN-001", "V6-002"))
_FATES: Final[Mapping[Outcome | None, str]] = {
    Outcome.PASS: "is blocked",
    Outcome.WARN: "bypasses the sidecar",
    Outcome.FAIL: "bypasses the sidecar",
}


def uncovered_ipv6(rows: Iterable[Row]) -> str:
    """Return what is not captured of TCP over IPv6, and what to do.

    Returns:
        The sentences; empty unless IPv4 is captured both ways, and IPv6 is not.
    """
    seen = {(row.check, row.variant.family): row.outcome for row in rows}
    if not all(seen.get((way.plain, 4)) is Outcome.PASS for way in _WAYS):
        return ""
    fates = {
        way: _FATES.get(seen.get((way.leaks, 6)), "is not captured")
        for way in _WAYS
        if seen.get((way.plain, 6)) is Outcome.FAIL
    }
    if not fates:
        return ""
    ids = ", ".join(way.plain for way in fates)
    if len(fates) == len(_WAYS) and len(set(fates.values())) == 1:
        what = f"TCP over IPv6 {next(iter(fates.values()))} in both directions"
    else:
        what = " and ".join(f"{way.name} TCP over IPv6 {fate}" for way, fate in fates.items())
    head = "IPv6 is not covered" if len(fates) == len(_WAYS) else "IPv6 is covered in part"
    return (
        f"{head}: {what} ({ids}). Other checks of IPv6 fail for this reason. Cover IPv6, or declare"
        " that it is not claimed: --fsm-features=-ipv6"
    )
