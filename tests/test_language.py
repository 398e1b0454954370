"""The language of the repository is plain English."""

from __future__ import annotations

from tests.language import density

LIMIT = 1.0
"""Mannerisms in 1,000 lines; pytest, trio and hypothesis have 0.1 to 0.2."""


def test_language_is_plain() -> None:
    """Catches: prose that a colleague in a hurry reads twice."""
    per_thousand, lines = density()
    assert per_thousand < LIMIT, "\n".join(lines)
