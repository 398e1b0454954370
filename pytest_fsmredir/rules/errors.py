"""Errors of reading and analysing rules."""

from __future__ import annotations

from pytest_fsmredir.errors import FsmRedirError


class RulesError(FsmRedirError):
    """A file of rules cannot be read; the message names the line."""


class TooComplexError(RulesError):
    """The analysis of the rules needs more memory or steps than the limits allow."""
