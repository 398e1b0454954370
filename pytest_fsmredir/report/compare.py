"""Put several reports side by side: versions of one implementation, or several implementations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.report.changes import REGRESSIONS, Change, Kind, changes
from pytest_fsmredir.report.read import Report

ABSENT = "-"
"""Stands for a row or a fact that a report does not have."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one report of a project to its next one.

    Attributes:
        before: The earlier report.
        after: The later report.
        changes: The rows whose outcomes differ.
    """

    before: Report
    after: Report
    changes: tuple[Change, ...]

    def of_kind(self, kind: Kind) -> list[Change]:
        """Return the changes of one kind."""
        return [change for change in self.changes if change.kind is kind]

    @property
    def regressed(self) -> bool:
        """Whether a change is for the worse."""
        return any(change.kind in REGRESSIONS for change in self.changes)


class Fact(NamedTuple):
    """One fact about each report.

    Attributes:
        name: What it is about.
        values: Its value in each report.
    """

    name: str
    values: tuple[str, ...]


class Line(NamedTuple):
    """One check on one variant whose outcome is not the same in all reports.

    Attributes:
        check: Id of the check.
        title: What it checks, in words.
        variant: The variant.
        outcomes: The outcome in each report; :data:`ABSENT` if it has no such row.
    """

    check: str
    title: str
    variant: Variant
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several reports side by side.

    Attributes:
        reports: The reports, in the user's order.
        steps: From each report to the next one of the same project and mode.
        facts: The facts about each report.
        lines: The rows that are not the same in all reports.
    """

    reports: tuple[Report, ...]
    steps: tuple[Step, ...]
    facts: tuple[Fact, ...]
    lines: tuple[Line, ...]

    def label(self, report: Report) -> str:
        """Return the name of a report; with its directory if another report has that name."""
        alone = [each.name for each in self.reports].count(report.name) == 1
        return report.name if alone else f"{report.name} ({report.file.parent.name})"

    @property
    def regressed(self) -> bool:
        """Whether a project has a change for the worse."""
        return any(step.regressed for step in self.steps)


def compare(reports: Sequence[Report]) -> Comparison:
    """Compare reports in the order in which they are given."""
    latest: dict[tuple[str, str], Report] = {}
    steps = []
    for report in reports:
        if (before := latest.get(report.project)) is not None:
            steps.append(Step(before, report, tuple(changes(before, report))))
        latest[report.project] = report
    return Comparison(tuple(reports), tuple(steps), _facts(reports), _lines(reports))


def _facts(reports: Sequence[Report]) -> tuple[Fact, ...]:
    facts = [
        Fact("vendor", tuple(_text(each.implementation, "organization") for each in reports)),
        Fact("verdict", tuple(each.verdict.value for each in reports)),
        *(_of_profile(profile, reports) for profile in Profile),
        Fact("not claimed", tuple(_series(each, "features", "notClaimed") for each in reports)),
        Fact("waived", tuple(_waived(each) for each in reports)),
        Fact(
            "rules file", tuple(_text(each.implementation, "rulesDigest")[:19] for each in reports)
        ),
        *_of_rules(reports),
        Fact("suite", tuple(each.suite["version"] for each in reports)),
        Fact("catalogue", tuple(each.suite["catalogue"][:19] for each in reports)),
        Fact("kernel", tuple(_text(each.run["host"], "kernel") for each in reports)),
        Fact("run on", tuple(each.started.date().isoformat() for each in reports)),
    ]
    return tuple(fact for fact in facts if set(fact.values) != {ABSENT})


def _of_profile(profile: Profile, reports: Sequence[Report]) -> Fact:
    return Fact(f"profile {profile}", tuple(_profile_in(each, profile) for each in reports))


def _of_rules(reports: Sequence[Report]) -> list[Fact]:
    """Return how many rules packets hit, by variant; empty if no report has that."""
    uses = [_rule_uses(report) for report in reports]
    variants = sorted({variant for each in uses for variant in each})
    return [
        Fact(f"rules hit, {variant}", tuple(each.get(variant, ABSENT) for each in uses))
        for variant in variants
    ]


def _rule_uses(report: Report) -> dict[str, str]:
    found = {}
    for use in report.document.get("rules", ()):
        where = f"{use['backend']}:{use['node']}" if "node" in use else use["backend"]
        also = {
            "never act": len(use["unreachable"]),
            "redundant": len(use["redundant"]),
        }
        parts = [f"{use['hit']} of {use['total']}"]
        parts += [f"{number} {what}" for what, number in also.items() if number]
        found[f"{where} {use['variant']}"] = ", ".join(parts)
    return found


def _profile_in(report: Report, profile: Profile) -> str:
    for each in report.document["profiles"]:
        if each["name"] == profile:
            proved = ", proved" if each.get("proved") else ""
            return f"{each['verdict']}{proved} ({each['pass']} of {each['total']} pass)"
    return ABSENT


def _lines(reports: Sequence[Report]) -> tuple[Line, ...]:
    titles = {row["id"]: row["title"] for each in reports for row in each.document["checks"]}
    subjects = sorted({subject for each in reports for subject in each.by_subject})
    lines = []
    for check, variant in subjects:
        rows = [each.by_subject.get((check, variant)) for each in reports]
        outcomes = tuple(row.outcome.value if row else ABSENT for row in rows)
        if len(set(outcomes)) > 1:
            lines.append(Line(check, titles[check], variant, outcomes))
    return tuple(lines)


def _series(report: Report, *path: str) -> str:
    value = report.document[path[0]][path[1]]
    return ", ".join(map(str, value)) or ABSENT


def _waived(report: Report) -> str:
    ids = dict.fromkeys(row.check for _, row in report.rows if row.outcome is Outcome.WAIVED)
    return ", ".join(ids) or ABSENT


def _text(facts: object, key: str) -> str:
    value = facts.get(key, "") if hasattr(facts, "get") else ""
    return str(value) or ABSENT
