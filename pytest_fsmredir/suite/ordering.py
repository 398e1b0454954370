"""Order the checks from the plainest to the most special.

A fault that breaks plain traffic also fails many special checks. The plain checks run first, so
that ``pytest -x`` stops at the simplest message. They are also first in the summary.
"""

from __future__ import annotations

from collections.abc import Iterable

_FIRST = ("SELF-001", "SAN-001", "OUT-001", "IN-001", "UID-001")
"""The checks of plain traffic. Their files run before all others."""

_PREFIXES = (
    "SELF", "SAN", "OUT", "IN", "UID", "LO", "RES", "PROTO", "OPX", "IPX", "OIX", "OII", "PREC",
    "MULTI", "V6", "CFG", "LIFE", "INIT", "CT", "COEX", "KUBE",
)  # fmt: skip
"""Prefixes of check ids, plainest first; an unlisted prefix (such as FUZZ) is last."""

_LAST = ("CT-010",)
"""Checks in two parts. The second part runs as late as possible: their files hold no others."""

Rank = tuple[int, int, str]


def rank(check_id: str) -> Rank:
    """Return the sort key of a check; the plainest check has the smallest key."""
    if check_id in _FIRST:
        return (0, _FIRST.index(check_id), check_id)
    if check_id in _LAST:
        return (2, _LAST.index(check_id), check_id)
    prefix = check_id.partition("-")[0]
    place = _PREFIXES.index(prefix) if prefix in _PREFIXES else len(_PREFIXES)
    return (1, place, check_id)


def rank_of_file(check_ids: Iterable[str]) -> Rank:
    """Return the sort key of a file of checks: that of its plainest check; last if it has none."""
    return min(map(rank, check_ids), default=(3, 0, ""))
