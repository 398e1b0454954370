"""Errors of reading and analysing rules."""

from __future__ import annotations

from pytest_fsmredir.errors import FsmRedirError


class RulesError(FsmRedirError):
    """A file of rules cannot be read; the message names the line."""


class UndividedError(RulesError):
    """A diagram is asked about a part of a range of numbers that it does not divide."""


class TooComplexError(RulesError):
    """The analysis of the rules needs more memory or steps than the limits allow.

    Attributes:
        limit: The limit, in words.
        place: The rule at which it was reached; empty if that is not known.
    """

    def __init__(self, limit: str, place: str = "") -> None:
        super().__init__(f"{place}: {limit}" if place else limit)
        self.limit, self.place = limit, place
