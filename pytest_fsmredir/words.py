"""Words for people: the nearest known name, text without control bytes, numbers with nouns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# What neither a terminal nor an XML file can hold as it is; a surrogate stands for no character.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def printable(text: str) -> str:
    r"""Return text with control bytes written out, such as ``\x1b``; tab and newline stay."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return, for example, ``1 check`` or ``2 checks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
