"""Read a report as values; no part of pytest is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_fsmredir.errors import ReportError
from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.judgement import Verdict

REPORT = "report.json"


@dataclass(frozen=True)
class Report:
    """A report that was read from a file.

    Attributes:
        file: The file.
        document: Its contents; schema.json describes them.
    """

    file: Path
    document: Mapping[str, Any]

    @property
    def implementation(self) -> Mapping[str, Any]:
        """The facts about the implementation."""
        return _mapping(self.document["implementation"])

    @property
    def suite(self) -> Mapping[str, Any]:
        """The facts about the suite."""
        return _mapping(self.document["suite"])

    @property
    def run(self) -> Mapping[str, Any]:
        """The volatile facts."""
        return _mapping(self.document["run"])

    @property
    def verdict(self) -> Verdict:
        """The verdict of the run."""
        return Verdict(self.document["verdict"])

    @property
    def project(self) -> tuple[str, str]:
        """What has several versions: the project, and its mode of redirection."""
        return self.implementation["project"], self.implementation["mode"]

    @property
    def name(self) -> str:
        """The project with its version and, if it has several, its mode."""
        project, mode = self.project
        shown = [project, self.implementation.get("version", "")]
        return " ".join(each for each in [*shown, "" if mode == "default" else mode] if each)

    @property
    def started(self) -> datetime:
        """When the run started."""
        return datetime.fromisoformat(self.run["started"])

    @cached_property
    def rows(self) -> Sequence[tuple[Profile, Row]]:
        """The row of each check and variant, with its profile."""
        return [_row(each) for each in self.document["checks"]]

    @cached_property
    def by_subject(self) -> Mapping[tuple[str, Variant], Row]:
        """The rows, by check and variant."""
        return {(row.check, row.variant): row for _, row in self.rows}


def read_report(path: Path) -> Report:
    """Read a report: a directory that ``--fsm-report`` wrote, or its ``report.json``.

    Raises:
        ReportError: The file cannot be read, or is not a report.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        report = Report(file, json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ReportError(
            f"{file}: {error.strerror}: name a directory that --fsm-report wrote"
            " in a conformance run"
        ) from None
    except (ValueError, RecursionError):
        raise ReportError(f"{file}: not JSON: name a directory that --fsm-report wrote") from None
    try:
        started = report.started
        _ = report.name, report.verdict, report.rows, report.suite["catalogue"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{file}: not a report of a conformance run: {error!r}") from None
    if started.tzinfo is None:
        raise ReportError(f"{file}: the start of the run has no time zone: {report.run['started']}")
    return report


def _row(document: Mapping[str, Any]) -> tuple[Profile, Row]:
    iptables, _, family = document["variant"].partition("/v")
    variant = Variant(document["backend"], iptables, int(family), document.get("node", ""))
    row = Row(
        check=document["id"],
        variant=variant,
        outcome=Outcome(document["outcome"]),
        reason=document["reason"],
        flow=document["flow"],
        expected=document["expected"],
        seen=document["seen"],
        path=document.get("path", ""),
        why=document.get("why", ""),
        symptom=tuple(document.get("symptom", ())),
        probes=document["probes"],
        attempts=document["attempts"],
        out_of_reach=document["outOfReach"],
        proof=document.get("proof", ""),
    )
    return Profile(document["profile"]), row


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} must be a mapping")
    return value
