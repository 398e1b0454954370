"""Break texts into lines for pictures: SVG has no line breaks."""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import east_asian_width


def wrapped(text: str, width: int, at_most: int = 4) -> list[str]:
    """Return text in lines; a word that is longer than a line is cut.

    Args:
        text: The text.
        width: Characters of a line; a wide one counts as two.
        at_most: The number of lines; an ellipsis ends the last one if the text is longer.
    """
    lines = [""]
    for word in text.split():
        for part in _cut(word, width):
            if lines[-1] and columns(lines[-1]) + 1 + columns(part) > width:
                lines.append("")
            lines[-1] += f" {part}" if lines[-1] else part
    if len(lines) > at_most:
        last = next(_cut(lines[at_most - 1], width - 2), "")
        lines = [*lines[: at_most - 1], f"{last} …"]
    return lines


def columns(text: str) -> int:
    """Return the width of a text in characters of a fixed width."""
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _cut(word: str, width: int) -> Iterator[str]:
    part = ""
    for character in word:
        if columns(part) + columns(character) > width:
            yield part
            part = ""
        part += character
    if part:
        yield part
