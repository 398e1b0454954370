"""Words for people: the nearest known name, text without control bytes, numbers with nouns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# What neither a terminal nor an XML file can hold as it is; a surrogate stands for no character.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_BRACED = re.compile(r"\{[^{}]*\}")
_NUMBERED = re.compile(r"\S*\d\S*")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or nothing when no known name is near in any case."""
    best = closest(name, known)
    return f"; did you mean '{best}'?" if best else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to one in any case; empty when none is near."""
    names = list(known)
    near = get_close_matches(name.casefold(), map(str.casefold, names), n=1)
    spelt = [each for each in names if each.casefold() in near]
    # Two names can differ in case alone, as a class and its object do.
    return next(iter(get_close_matches(name, spelt, n=1, cutoff=0)), "")


def printable(text: str) -> str:
    r"""Return text with control bytes written out, such as ``\x1b``; tab and newline stay."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return, for example, ``1 check`` or ``2 checks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def without_numbers(text: str) -> str:
    """Return text with ``#`` for each word that holds a digit, such as an address or a port.

    Braces and what they hold become ``{}``: two texts about the same kind of thing are then equal.
    """
    return _NUMBERED.sub("#", _BRACED.sub("{}", text))
