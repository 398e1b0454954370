"""Helpers for messages: the nearest known name, printable text, numbers with nouns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# Characters that a terminal or an XML file cannot hold, and surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_BRACED = re.compile(r"\{[^{}]*\}")
_NUMBERED = re.compile(r"\S*\d\S*")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or an empty text when no known name is near."""
    best = closest(name, known)
    return f"; did you mean '{best}'?" if best else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest, ignoring case; empty when none is near."""
    names = list(known)
    near = get_close_matches(name.casefold(), map(str.casefold, names), n=1)
    candidates = [each for each in names if each.casefold() in near]
    # Two known names can differ in case alone, such as a class and its instance.
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=0)), "")


def printable(text: str) -> str:
    r"""Return text with control bytes escaped, such as ``\x1b``; tab and newline stay."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return text on one line, with control bytes escaped and runs of spaces as one."""
    return " ".join(printable(text).split())


def counted(number: int, noun: str) -> str:
    """Return, for example, ``1 check`` or ``2 checks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def without_numbers(text: str) -> str:
    """Return text with ``#`` for each word that holds a digit, such as an address or a port.

    Braces and what they hold become ``{}``: two texts about the same kind of thing are then equal.
    """
    return _NUMBERED.sub("#", _BRACED.sub("{}", text))
