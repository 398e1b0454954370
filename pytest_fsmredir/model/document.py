"""SPEC.md as data: its numbered sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_fsmredir.errors import CatalogueError
from pytest_fsmredir.model.checks import Level

_SECTION = re.compile(r"## (\d+) (.+)")
_SENTENCE = re.compile(r"- \*\*(SPEC-\d+\.\d+)\*\* \[(seed|reading): (.*?)\] (.+)")

_KEYWORD = re.compile(r"\b(MUST|SHOULD|MAY)(?: NOT)?\b")
_LEVELS = {"MUST": Level.MUST, "SHOULD": Level.SHOULD, "MAY": Level.INFO}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One normative sentence.

    Attributes:
        id: Such as ``SPEC-3.2``.
        section: Title of its section.
        seed: Its heading in the seed; empty for a reading.
        reason: The reason for a reading, where the seed says nothing; empty otherwise.
        text: The requirement.
    """

    id: str
    section: str
    seed: str
    reason: str
    text: str

    @property
    def level(self) -> Level:
        """How binding it is, by its keyword.

        Raises:
            CatalogueError: It does not have exactly one keyword.
        """
        found = _KEYWORD.findall(self.text)
        if len(found) != 1:
            raise CatalogueError(
                f"SPEC.md: {self.id} must have one of the words {', '.join(_LEVELS)}, once"
            )
        return _LEVELS[found[0]]


def sentences(document: str) -> dict[str, Sentence]:
    """Return all sentences of SPEC.md by id, in order.

    Raises:
        CatalogueError: An id is given twice, or an item that names one cannot be read.
    """
    found: dict[str, Sentence] = {}
    for section, item in _items(document):
        match = _SENTENCE.fullmatch(item)
        if match is None:
            raise CatalogueError(f"SPEC.md: cannot read this sentence: {item[:80]}")
        name, source, origin, text = match.groups()
        if name in found:
            raise CatalogueError(f"SPEC.md: {name} is given twice")
        is_seed = source == "seed"
        found[name] = Sentence(
            name, section, origin if is_seed else "", "" if is_seed else origin, text
        )
    return found


def _items(document: str) -> Iterator[tuple[str, str]]:
    """Yield (section, list item on one line) for every item that starts with an id."""
    section, item = "", ""
    for line in [*document.splitlines(), ""]:
        if item and line.startswith("  "):
            item += " " + line.strip()
            continue
        if item:
            yield section, item
            item = ""
        if heading := _SECTION.fullmatch(line):
            section = heading.group(2)
        elif line.startswith("- **SPEC-"):
            item = line
