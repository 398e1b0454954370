"""Group failures that one fault of an implementation is likely to cause."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.ordering import Rank, rank
from pytest_fsmredir.text import without_numbers

_SEVEREST = (Outcome.ERROR, Outcome.FAIL, Outcome.WAIVED, Outcome.WARN)
_CONFIGURATION = re.compile(
    r"(?: with a message)?"
    r" of (?:(?:annotations|MeshConfig) \{\}(?: and MeshConfig \{\})?|the default configuration)"
)
"""The text for a pod's configuration in a reason; see the claims of Programming."""
_TOGETHER = {Outcome.WARN: Outcome.FAIL}
"""Outcomes that share groups: a violated SHOULD and a violated MUST can have one cause."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with one symptom.

    Attributes:
        symptom: The symptom in words; empty if the rows share a reason instead.
        rows: Sorted by severity, then from the plainest check to the most special.
    """

    symptom: str
    rows: tuple[Row, ...]

    @property
    def outcome(self) -> Outcome:
        """The severest outcome in the group."""
        return self.rows[0].outcome

    @property
    def first(self) -> tuple[Row, ...]:
        """The rows of the plainest check with the severest outcome: one for each variant."""
        plainest = self.rows[0]
        key = (plainest.check, plainest.outcome)
        return tuple(row for row in self.rows if (row.check, row.outcome) == key)

    def others(self, outcome: Outcome) -> list[str]:
        """Return the ids of the other checks with an outcome, the plainest first."""
        ids = dict.fromkeys(row.check for row in self.rows if row.outcome is outcome)
        ids.pop(self.rows[0].check, None)
        return list(ids)


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Return the groups of all failures, warnings, waived failures and errors.

    The order of the rows does not matter. Groups are sorted by severity, then by plainest check.
    """
    wanted = [row for row in rows if row.outcome in _SEVEREST]
    found: dict[tuple[Outcome, tuple[str, ...]], list[Row]] = {}
    plain = _plain_symptoms(wanted)
    for row in wanted:
        found.setdefault((_kind(row), _shared(row, plain)), []).append(row)
    groups = [
        Group(_in_words(symptom) if members[0].symptom else "", tuple(sorted(members, key=_place)))
        for (_, symptom), members in found.items()
    ]
    return sorted(groups, key=lambda group: _place(group.rows[0]))


Symptoms = dict[tuple[Outcome, Variant, str], set[frozenset[str]]]


def _plain_symptoms(rows: Iterable[Row]) -> Symptoms:
    """Return the traits of the failing flows, by outcome, variant and the symptom's first part."""
    found: Symptoms = {}
    for row in rows:
        if row.symptom:
            key = (_kind(row), row.variant, row.symptom[0])
            found.setdefault(key, set()).add(frozenset(row.symptom[1:]))
    return found


def _shared(row: Row, plain: Symptoms) -> tuple[str, ...]:
    """Return the plainest symptom on the row's variant that explains the row's own.

    If plain flows fail, flows to other ports and of other users fail too. A row without a symptom
    uses its reason instead, without addresses and numbers.
    """
    if not row.symptom:
        return (_CONFIGURATION.sub("", without_numbers(row.reason)),)
    kind, *traits = row.symptom
    candidates = plain[_kind(row), row.variant, kind]
    fitting = (sorted(each) for each in candidates if each <= set(traits))
    return (kind, *min(fitting, key=lambda each: (len(each), each)))


def _kind(row: Row) -> Outcome:
    return _TOGETHER.get(row.outcome, row.outcome)


def _place(row: Row) -> tuple[int, Rank, Variant]:
    return _SEVEREST.index(row.outcome), rank(row.check), row.variant


def _in_words(symptom: tuple[str, ...]) -> str:
    kind, *traits = symptom
    return f"{kind} ({', '.join(traits)})" if traits else kind
