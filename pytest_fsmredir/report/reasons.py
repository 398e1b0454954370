"""Summarize why checks did not run: one line for each reason, with the number of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.suite.deciding import lacked
from pytest_fsmredir.text import counted

_AT_MOST = 20  # lines; the report has the reason of every row


def not_run(rows: Iterable[Row]) -> Iterator[str]:
    """Yield one line for each reason, the most frequent first.

    A row whose backend lacks several capabilities counts for the one that most rows lack, so that
    the numbers add up.
    """
    found = [row for row in rows if row.outcome is Outcome.NOT_RUN]
    lacking = Counter((row.variant.backend, what) for row in found for what in lacked(row))
    counts = Counter(_reason(row, lacking) for row in found)
    for reason, number in counts.most_common(_AT_MOST):
        yield f"{number:>4}  {reason}"
    if len(counts) > _AT_MOST:
        rest = counts.total() - sum(number for _, number in counts.most_common(_AT_MOST))
        yield f"{rest:>4}  for {counted(len(counts) - _AT_MOST, 'more reason')}"


def _reason(row: Row, lacking: Counter[tuple[str, str]]) -> str:
    backend = row.variant.backend
    # Sort first, so that the choice between equally frequent capabilities is deterministic.
    most = max(sorted(lacked(row)), key=lambda what: lacking[backend, what], default="")
    return f"the backend {backend} lacks: {most}" if most else row.reason
