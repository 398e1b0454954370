"""Collect checks as pytest items of a separate class.

Pytest does not treat a check as a test function, so autouse fixtures, naming patterns and call
hooks of the host project do not affect it. The result depends on the implementation only.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.model.checks import Check, Profile
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.deciding import Undecided, Violated
from pytest_fsmredir.suite.ordering import Rank, rank_of_file
from pytest_fsmredir.suite.runner import RUNNER
from pytest_fsmredir.text import printable

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr, TracebackStyle


class ConformanceDirectory(pytest.Directory):
    """The folder of checks."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield one collector for each file of checks, plainest checks first."""
        for file in sorted(catalogue.files(), key=_rank):
            yield CheckFile.from_parent(self, path=file)
        if self.config.stash[RUNNER].plan.generated:
            yield GeneratedChecks.from_parent(self, name="generated")


class CheckFile(pytest.File):
    """One file of checks."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item for each selected check and variant."""
        return _items(self, catalogue.checks_in(self.path))


class GeneratedChecks(pytest.Collector):
    """The checks of generated policies."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item for each selected check and variant."""
        return _items(self, self.config.stash[RUNNER].plan.generated)


def _rank(file: Path) -> Rank:
    return rank_of_file(check.id for check in catalogue.checks_in(file))


def _items(parent: pytest.Collector, checks: Iterable[Check]) -> Iterator[pytest.Item]:
    plan = parent.config.stash[RUNNER].plan
    for check in checks:
        for variant in plan.variants_of(check):
            yield CheckItem.from_parent(
                parent, name=f"{check.id}[{variant}]", check=check, variant=variant
            )


class CheckItem(pytest.Item):
    """One check on one variant.

    Attributes:
        check: The check.
        variant: The variant on which the check runs.
        row: The result; None before the run.
    """

    def __init__(
        self, *, name: str, parent: pytest.Collector, check: Check, variant: Variant
    ) -> None:
        # Set the id explicitly, because pytest parses the ids of its cache with the brackets apart.
        super().__init__(name, parent, nodeid=f"{parent.nodeid}::{name}")
        self.check, self.variant = check, variant
        self.row: Row | None = None
        self._failed = False
        self.extra_keyword_matches |= {
            check.function.__name__, check.level, self.profile, check.spec,
        }  # fmt: skip
        self.user_properties.append(("fsm_check", check.id))

    @property
    def profile(self) -> Profile:
        """The profile that the check counts for on this variant."""
        return self.check.profile_for(self.variant.family)

    def runtest(self) -> None:
        """Run the check."""
        result = self.config.stash[RUNNER].execute(self.check, self.variant)
        self.row = result.row
        self.user_properties.append(("fsm_outcome", result.row.outcome.value))
        self._failed = result.error is not None
        if result.error is not None:
            raise result.error
        if result.skipped:
            pytest.skip(result.skipped)

    def row_of(
        self, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None
    ) -> Row | None:
        """Return the row for a report of this item; None if the report does not decide the outcome.

        Args:
            report: The report of one phase.
            excinfo: The exception of that phase.
        """
        ran_whole = report.when == "call" and (self._failed or not report.failed)
        if self.row is not None and ran_whole:
            return self.row
        if report.passed:
            return None
        outcome = Outcome.NOT_RUN if report.skipped else Outcome.ERROR
        if self.row is None:
            reason = f"did not run: {report.when} failed: {_why(report, excinfo)}"
            if report.skipped:
                reason = f"skipped in {report.when}: {_why(report, excinfo)}"
            return Row(check=self.check.id, variant=self.variant, outcome=outcome, reason=reason)
        reason = f"result discarded: {report.when} failed: {_why(report, excinfo)}"
        discarded = replace(self.row, outcome=outcome, reason=reason)
        # The report of the call carried the row already; the two rows are merged.
        return discarded if report.when == "call" else replace(discarded, attempts=0, seconds=0.0)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: TracebackStyle | None = None,
    ) -> str | TerminalRepr:
        """Explain a violated requirement in words, and a harness error with its traceback."""
        if isinstance(excinfo.value, Violated):
            return str(excinfo.value)
        cause = excinfo.value.__cause__
        if isinstance(excinfo.value, Undecided) and cause is not None:
            trace = "".join(traceback.format_exception(cause))
            return f"{excinfo.value}\n\n{trace}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file, the line and the name of the check."""
        code = self.check.function.__code__
        return self.path, code.co_firstlineno - 1, f"{self.name} {self.check.title}"


def _why(report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    """Return the exception in one line, or the outcome that a hook of the project has set."""
    if excinfo is None:
        return f"a hook of the project reports it as {report.outcome}"
    return printable(excinfo.exconly().splitlines()[0])


def conformance_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return our collector for the folder of checks; None for any other folder."""
    if path.resolve() != layout.conformance():
        return None
    return ConformanceDirectory.from_parent(parent, path=path)
