"""What can be wrong with rules that are read, or too much to decide."""

from __future__ import annotations

from pytest_fsmredir.errors import FsmRedirError


class RulesError(FsmRedirError):
    """A file of rules cannot be read; the message names the line."""


class TooComplexError(RulesError):
    """Rules that can be read need more memory or steps to decide than they are given."""
