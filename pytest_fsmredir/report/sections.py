"""Make pytest's failure sections explain each group of failures once."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest

from pytest_fsmredir.model.outcomes import Row, Variant
from pytest_fsmredir.report.groups import grouped
from pytest_fsmredir.text import counted

Key = tuple[str, Variant]
Stats = MutableMapping[str, list[Any]]


class FailureSections:
    """The output of pytest about failed checks, from FAILURES to the short summary.

    Only the plainest check of each group is explained, and has one line in the short summary. With
    ``CI`` set, pytest would repeat the whole explanation there. Reports of the user's tests do not
    change.

    Args:
        attribute: The attribute of a report that holds the row of its check.
    """

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._lists: dict[str, list[Any]] = {}
        self._texts: list[tuple[pytest.TestReport, object, str]] = []

    def fold(self, stats: Stats, rows: Mapping[Key, Row], *, verbose: bool) -> None:
        """Keep one report of each group, before pytest prints its sections.

        Args:
            stats: The reports in pytest's terminal reporter, by outcome.
            rows: The rows of the run.
            verbose: Whether to keep every report.
        """
        sizes = {(g.rows[0].check, g.rows[0].variant): len(g.rows) for g in grouped(rows.values())}
        for kind in {"failed", "error"} & stats.keys():
            self._lists[kind] = stats[kind]
            stats[kind] = []
            for report in self._lists[kind]:
                row = self._row(report)
                size = 1 if row is None or verbose else sizes.get((row.check, row.variant), 0)
                if size:
                    stats[kind].append(report)
                if row is not None and size:
                    self._explain(report, row, counted(size - 1, "more result") if size > 1 else "")

    def shorten(self) -> None:
        """Shorten each report to one line, before pytest prints its short summary."""
        for report, _, headline in self._texts:
            report.longrepr = headline

    def restore(self, stats: Stats) -> None:
        """Restore all reports with their full texts."""
        stats.update(self._lists)
        for report, text, _ in self._texts:
            report.longrepr = text  # type: ignore[assignment] # the original
        self._lists.clear()
        self._texts.clear()

    def _row(self, report: object) -> Row | None:
        document = getattr(report, self._attribute, None)
        return None if document is None else Row.from_dict(document)

    def _explain(self, report: pytest.TestReport, row: Row, others: str) -> None:
        text = str(report.longrepr)
        headline = next(iter(text.splitlines()), row.check)
        if others:
            text += f"\n  {'and':<12} {others} with this symptom: see below"
            headline += f" (and {others} with this symptom)"
        self._texts.append((report, report.longrepr, headline))
        report.longrepr = text
