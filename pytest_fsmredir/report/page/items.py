"""The checks of a report as a page shows them: one item a check, alike results together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.report.page.packet_picture import packet_picture
from pytest_fsmredir.report.page.walk_picture import tag, walk_picture
from pytest_fsmredir.report.page.wording import Wording
from pytest_fsmredir.text import without_numbers

WORST_FIRST = (
    Outcome.ERROR, Outcome.FAIL, Outcome.WARN, Outcome.WAIVED, Outcome.NOT_RUN, Outcome.NOTE,
    Outcome.UNSUPPORTED, Outcome.PASS,
)  # fmt: skip
_SHOWN = ("outcome", "reason", "flow", "expected", "seen", "path", "why", "proof")
_DRAWN = 350_000  # characters of all pictures

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check on one or more variants.

    Attributes:
        rows: The rows of the report, which differ in their variant and addresses only.
        names: The variants in words.
        again: The commands that run the check again.
        evidence: The directories of evidence in the report.
        walk: The picture of the rules; empty if there is none.
        packets: The picture of the packets; empty if there is none.
    """

    rows: tuple[Document, ...]
    names: tuple[str, ...]
    again: tuple[str, ...]
    evidence: tuple[str, ...]
    walk: str = ""
    packets: str = ""

    @property
    def row(self) -> Document:
        """The first row."""
        return self.rows[0]

    @property
    def named(self) -> list[tuple[str, Document]]:
        """The rules that decided, are at fault, or should have decided, each with that in words."""
        steps = self.row.get("walk", {"steps": ()})["steps"]
        return [(words.capitalize(), step) for step in steps if (words := tag(step, steps))]


@dataclass(frozen=True, slots=True)
class Item:
    """A check.

    Attributes:
        id: Its id.
        rows: Its rows.
        wording: What the catalogue says about it.
        cells: The outcome on each variant of the matrix; empty where it has no row.
        results: Its results, the worst first.
    """

    id: str
    rows: tuple[Document, ...]
    wording: Wording
    cells: tuple[tuple[str, str], ...]
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.rows[0]["title"])

    @property
    def profiles(self) -> list[str]:
        """The profiles of its rows."""
        return list(dict.fromkeys(str(row["profile"]) for row in self.rows))

    @property
    def outcomes(self) -> list[str]:
        """The different outcomes of its rows."""
        return list(dict.fromkeys(str(row["outcome"]) for row in self.rows))


def variant_of(row: Document) -> Variant:
    """Return the point of the matrix that a row or a use of rules is about."""
    iptables, _, family = row["variant"].partition("/v")
    return Variant(row["backend"], iptables, int(family), row.get("node", ""))


def in_words(variant: Variant) -> str:
    """Return a point of the matrix in words."""
    return f"{variant.where} {variant.iptables} IPv{variant.family}"


def items(
    document: Document, wordings: Mapping[str, Wording], plainest: Sequence[str]
) -> list[Item]:
    """Return the checks of a report, with their pictures.

    The pictures of the plainest checks come first if not all fit.

    Args:
        document: The report.
        wordings: What is known about each check.
        plainest: The ids of the plainest check of each symptom.
    """
    found: dict[str, list[Document]] = {}
    for row in document["checks"]:
        found.setdefault(row["id"], []).append(row)
    columns = variants(document)
    every = {
        check: _item(document, tuple(rows), wordings[check], columns)
        for check, rows in found.items()
    }
    left = _DRAWN
    for check in dict.fromkeys([*plainest, *every]):
        every[check], used = _drawn(every[check], left)
        left -= used
    return list(every.values())


def variants(document: Document) -> list[Variant]:
    """Return the columns of the matrix."""
    return sorted({variant_of(row) for row in document["checks"]})


def _item(
    document: Document,
    rows: tuple[Document, ...],
    wording: Wording,
    columns: Iterable[Variant],
) -> Item:
    outcomes = {variant_of(row): row["outcome"] for row in rows}
    cells = tuple((in_words(variant), outcomes.get(variant, "")) for variant in columns)
    return Item(rows[0]["id"], rows, wording, cells, tuple(_results(document, rows)))


def _results(document: Document, rows: Iterable[Document]) -> Iterator[Result]:
    alike: dict[tuple[object, ...], list[Document]] = {}
    for row in rows:
        # Pods of two variants have different addresses.
        texts = [without_numbers(row.get(name, "")) for name in _SHOWN]
        alike.setdefault((variant_of(row).family, *texts), []).append(row)
    again = {variant_of(each): each["command"] for each in document["run"].get("again", ())}
    evidence = {PurePosixPath(name).name for name in document["run"].get("evidence", ())}
    for members in sorted(alike.values(), key=_severity):
        points = [variant_of(row) for row in members]
        check = members[0]["id"]
        folders = [f"{check}-{variant}".replace(":", "-") for variant in points]
        yield Result(
            rows=tuple(members),
            names=tuple(in_words(variant) for variant in points),
            again=tuple(f"{again[point]}{check}" for point in points if point in again),
            evidence=tuple(f"evidence/{name}/" for name in folders if name in evidence),
        )


def _severity(rows: Sequence[Document]) -> int:
    return WORST_FIRST.index(Outcome(rows[0]["outcome"]))


def _drawn(item: Item, left: int) -> tuple[Item, int]:
    """Return an item with its pictures, as far as they fit, and their size."""
    used, results = 0, []
    for result in item.results:
        row = result.row
        walk = walk_picture(row["walk"]) if "walk" in row else ""
        packets = packet_picture(row["delivery"], row["expected"]) if "delivery" in row else ""
        if used + len(walk) + len(packets) <= left:
            used += len(walk) + len(packets)
            result = replace(result, walk=walk, packets=packets)
        results.append(result)
    return replace(item, results=tuple(results)), used
