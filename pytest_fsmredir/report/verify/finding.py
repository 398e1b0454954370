"""What the check of a report finds."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One sentence about a report.

    Attributes:
        text: The sentence.
        rejected: Whether the report must be rejected for it; other sentences inform the reviewer.
    """

    text: str
    rejected: bool = True


def note(text: str) -> Finding:
    """Return a finding that informs the reviewer."""
    return Finding(text, rejected=False)
