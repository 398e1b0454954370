"""The lines about failed checks: one message for each group of failures."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.report.groups import Group, grouped
from pytest_fsmredir.text import counted

_AT_MOST = 20  # groups of one outcome; the report has all rows
_IDS = 12  # of one group, without -v
_INDENT = " " * 7
_VERBS = {
    Outcome.ERROR: ("is not decided", "are not decided"),
    Outcome.FAIL: ("fails", "fail"),
    Outcome.WAIVED: ("is waived", "are waived"),
    Outcome.WARN: ("warns", "warn"),
}


def failure_lines(rows: Iterable[Row], *, verbose: bool) -> Iterator[str]:
    """Yield the lines about the checks that failed, warned, were waived or could not be decided.

    Each group shows its plainest check and counts the others.

    Args:
        rows: The rows of the run.
        verbose: Whether to show every group, and the id of every check in it.
    """
    by_outcome: dict[Outcome, list[Group]] = {}
    for group in grouped(rows):
        by_outcome.setdefault(group.outcome, []).append(group)
    for outcome, groups in by_outcome.items():
        shown = groups if verbose else groups[:_AT_MOST]
        for group in shown:
            yield from _lines(group, verbose=verbose)
        if rest := groups[len(shown) :]:
            number = len({row.check for group in rest for row in group.rows})
            text = f"... and {counted(number, 'check')} more, with other symptoms"
            yield f"{outcome.upper():<6} {text} (-v shows them all)"


def wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Yield lines of at most the terminal's width; those after the first are indented."""
    width = shutil.get_terminal_size().columns  # as pytest does it
    yield from textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _lines(group: Group, *, verbose: bool) -> Iterator[str]:
    plainest = group.rows[0]
    variants = " ".join(str(row.variant) for row in group.first)
    head = f"{group.outcome.upper():<6} {plainest.check} [{variants}] {plainest.reason}"
    yield from wrapped(head, _INDENT)
    if plainest.why:
        yield from wrapped(f"{_INDENT}why: {plainest.why}", _INDENT)
    if plainest.evidence:
        yield f"{_INDENT}evidence: {plainest.evidence}"
    parts = [
        f"{counted(len(ids), 'more check')} {verb[len(ids) > 1]}: {_some(ids, verbose=verbose)}"
        for outcome, verb in _VERBS.items()
        if (ids := group.others(outcome))
    ]
    if parts:
        what = f"same symptom ({group.symptom})" if group.symptom else "same reason"
        yield from wrapped(f"{_INDENT}{what}: {'; '.join(parts)}", _INDENT)


def _some(ids: Sequence[str], *, verbose: bool) -> str:
    shown = ids if verbose else ids[:_IDS]
    rest = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {rest} more (-v shows them all)" if rest else "")
