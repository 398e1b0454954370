"""Show a report on CI: annotations, a summary in Markdown, and a badge."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.report.groups import Group, grouped
from pytest_fsmredir.report.read import Report
from pytest_fsmredir.report.render import template
from pytest_fsmredir.suite.judgement import Verdict
from pytest_fsmredir.text import counted, printable

_COMMANDS = {Outcome.FAIL: "error", Outcome.ERROR: "error", Outcome.WARN: "warning"}
_AT_MOST = 10  # GitHub shows 10 errors and 10 warnings of a step
_COLOURS = {
    Verdict.CONFORMANT: "#2da44e",
    Verdict.PARTIAL: "#bf8700",
    Verdict.NONCONFORMANT: "#cf222e",
    Verdict.INVALID: "#6e7781",
}
_LABEL = "FSM redirection"


def workflow_commands(report: Report) -> Iterator[str]:
    """Yield workflow commands of GitHub: one for each group of failures with one cause.

    Source: "Workflow commands for GitHub Actions", Setting an error message.
    """
    shown: dict[str, int] = {}
    for group in _groups(report):
        command = _COMMANDS.get(group.outcome)
        if command is None or shown.get(command, 0) == _AT_MOST:
            continue
        shown[command] = shown.get(command, 0) + 1
        title = f"{group.rows[0].check} {_title(report, group)}"
        yield f"::{command} title={_property(title)}::{_data(_cause(group))}"


def summary(report: Report) -> str:
    """Return a summary of a report in Markdown, for the page of a job."""
    groups = [(group, _title(report, group), _cause(group)) for group in _groups(report)]
    return template("summary.md").render(report=report, groups=groups)


def badge(report: Report) -> str:
    """Return an image in SVG that shows the verdict."""
    verdict = report.verdict
    left, right = _width(_LABEL), _width(verdict)
    drawn: str = template("badge.svg").render(
        label=_LABEL, verdict=verdict.value, colour=_COLOURS[verdict], left=left, right=right
    )
    return drawn


def _groups(report: Report) -> list[Group]:
    return grouped(row for _, row in report.rows)


def _title(report: Report, group: Group) -> str:
    check = group.rows[0].check
    return next(str(row["title"]) for row in report.document["checks"] if row["id"] == check)


def _cause(group: Group) -> str:
    """Return the reason of the plainest failure, and how many others share it."""
    row, others = group.rows[0], len({each.check for each in group.rows}) - 1
    more = f" ({counted(others, 'more check')} with this symptom)" if others else ""
    return f"on {row.variant}: {row.reason}{more}"


def _data(text: str) -> str:
    """Return text for a workflow command, which ends at a line break."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _width(text: str) -> int:
    """Return about how many pixels a text of 11 pixels is wide, with margins."""
    return 7 * len(text) + 10
