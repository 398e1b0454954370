"""Conditions that count packets or connections: how many flows show both results."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

_UNLIKELY: Final = 21
"""A random condition misses every one of n flows with a probability of about e**-21."""

_PACKET: Final = 60
"""Length in bytes of the shortest packet that opens a connection."""

_UNITS: Final = {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}

HELD: Final = re.compile(r"connlimit|ct count")
"""Conditions that count open connections."""


def _next(found: re.Match[str]) -> int:
    return int(found[1]) + 1


def _bytes(found: re.Match[str]) -> int:
    unit = _UNITS.get(found[2] or "bytes", 1)
    return int(found[1]) * unit // _PACKET + 1


def _random(found: re.Match[str]) -> int:
    chance = float(found[1])
    rarer = min(chance, 1 - chance)
    return math.ceil(_UNLIKELY / rarer) if rarer > 0 else 1


_FORMS: Final[tuple[tuple[str, Callable[[re.Match[str]], int]], ...]] = (
    (r"--(?:limit|hashlimit)-burst (\d+)", _next),
    (r"^limit .*\bburst (\d+)", _next),
    (r"^-m (?:limit|hashlimit) ", lambda _: 6),  # the default burst is 5 (iptables-extensions(8))
    (r"--quota (\d+)()", _bytes),
    (r"^quota .*?\bval (\d+)(?: val_unit (\w+))?", _bytes),
    (r"--mode nth --every (\d+)", _next),
    (r"numgen mode inc mod (\d+)", _next),
    (r"--probability (0\.\d+|1)", _random),
    (r"numgen mode random mod (\d+)", lambda found: _UNLIKELY * int(found[1])),
    (r"--hitcount (\d+)", _next),
    (r"^-m recent ", lambda _: 2),
    (r"--connlimit-(?:above|upto) (\d+)", _next),
    (r"^ct count .*?\bval (\d+)", _next),
)
"""Texts of conditions by iptables-save and by ``nft -j``, and how many flows cross them."""


def flows_to_cross(condition: str) -> int | None:
    """Return how many equal flows a condition tells apart; None if its text does not say."""
    for pattern, count in _FORMS:
        found = re.search(pattern, condition)
        if found is not None:
            return count(found)
    return None
