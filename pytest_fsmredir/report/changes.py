"""The differences between two reports, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.report.read import Report

_FAILING = (Outcome.FAIL, Outcome.ERROR, Outcome.WAIVED)
_PASSING = (Outcome.PASS, Outcome.NOTE, Outcome.WARN)
_SILENT = (Outcome.NOT_RUN, Outcome.UNSUPPORTED)


class Kind(StrEnum):
    """What a change means."""

    FAILS = "newly failing"
    UNTESTED = "no longer tested"
    PASSES = "newly passing"
    TESTED = "newly tested"
    NEW_FAILURE = "new check that fails"
    OTHER = "otherwise changed"


REGRESSIONS = (Kind.FAILS, Kind.UNTESTED)
"""The changes for the worse. A check that the earlier catalogue does not have cannot regress."""


@dataclass(frozen=True, slots=True)
class Change:
    """One check on one variant whose outcome differs.

    Attributes:
        check: Id of the check.
        title: What it checks, in words.
        variant: The variant.
        before: The earlier outcome; None if the earlier report has no such row.
        after: The later outcome; None if the later report has no such row.
        reason: The reason of the later outcome.
    """

    check: str
    title: str
    variant: Variant
    before: Outcome | None
    after: Outcome | None
    reason: str = ""

    @property
    def kind(self) -> Kind:
        """What the change means."""
        if self.after in _FAILING:
            return Kind.NEW_FAILURE if self.before is None else self._to_failure()
        if self.before in _PASSING and self.after in (*_SILENT, None):
            return Kind.UNTESTED
        if self.before in _FAILING and self.after in _PASSING:
            return Kind.PASSES
        if self.before in (*_SILENT, None) and self.after in _PASSING:
            return Kind.TESTED
        if (self.before, self.after) == (Outcome.PASS, Outcome.WARN):
            return Kind.FAILS
        return Kind.PASSES if self.after is Outcome.PASS else Kind.OTHER

    def _to_failure(self) -> Kind:
        return Kind.OTHER if self.before in _FAILING else Kind.FAILS


def changes(before: Report, after: Report) -> Iterator[Change]:
    """Yield the rows of two reports whose outcomes differ, in the order of ids and variants.

    A row of a variant or a check that only one of the runs covers has no counterpart. It counts
    only if the other report covers the variant, and as a change for the worse only if the later
    catalogue has the check.
    """
    rows = [*before.document["checks"], *after.document["checks"]]
    titles = {row["id"]: row["title"] for row in rows}
    earlier, later = before.by_subject, after.by_subject
    common = {variant for _, variant in earlier} & {variant for _, variant in later}
    withdrawn = {check for check, _ in earlier} - {check for check, _ in later}
    for check, variant in sorted(earlier.keys() | later.keys()):
        if variant not in common or check in withdrawn:
            continue
        old, new = earlier.get((check, variant)), later.get((check, variant))
        was, now = old.outcome if old else None, new.outcome if new else None
        if was != now:
            reason = new.reason if new else ""
            yield Change(check, titles[check], variant, was, now, reason)
