"""Collecting checks as pytest items of our own.

A check is no test function to pytest, so a host project's autouse fixtures, naming patterns and
call hooks do not reach it: what is judged is the implementation and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import ExceptionInfo, TerminalRepr

from pytest_fsmredir import catalogue, layout
from pytest_fsmredir.outcomes import Outcome, Variant
from pytest_fsmredir.run import RUN, Run, Undecided, Violated
from pytest_fsmredir.spec.checks import Check, checks_of


class ConformanceDirectory(pytest.Directory):
    """The folder of checks."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield one collector a file of checks."""
        for file in sorted(self.path.glob("test_*.py")):
            yield CheckFile.from_parent(self, path=file)


class CheckFile(pytest.File):
    """One file of checks."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a check and variant that was asked for."""
        run = self.config.stash[RUN]
        for check in checks_of(catalogue.load_module(self.path.stem)):
            for variant in run.variants_of(check):
                yield CheckItem.from_parent(
                    self, name=f"{check.id}[{variant}]", check=check, variant=variant
                )


class CheckItem(pytest.Item):
    """One check on one variant.

    Attributes:
        check: What is checked.
        variant: Where.
    """

    def __init__(self, *, check: Check, variant: Variant, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.check, self.variant = check, variant
        self.extra_keyword_matches |= {
            check.function.__name__, check.level, check.profile_for(variant.family), check.spec,
        }  # fmt: skip
        self.user_properties.append(("fsm_check", check.id))

    def runtest(self) -> None:
        """Run the check."""
        run: Run = self.config.stash[RUN]
        row = run.execute(self.check, self.variant)
        self.user_properties.append(("fsm_outcome", row.outcome.value))
        if row.outcome in (Outcome.UNSUPPORTED, Outcome.NOT_RUN):
            pytest.skip(row.reason)

    def repr_failure(
        self, excinfo: ExceptionInfo[BaseException], style: Any = None
    ) -> str | TerminalRepr:
        """Explain a violated requirement in words, and a harness error with its traceback."""
        del style
        if isinstance(excinfo.value, Violated):
            return excinfo.value.explanation
        if isinstance(excinfo.value, Undecided):
            cause = excinfo.value.__cause__
            shown = super().repr_failure(ExceptionInfo.from_exception(cause)) if cause else ""
            return f"{excinfo.value}\n\n{shown}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the check stands and what it is called."""
        code = self.check.function.__code__
        return self.path, code.co_firstlineno - 1, f"{self.name} {self.check.title}"


def conformance_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return our collector for the folder of checks, None for any other."""
    if path.resolve() != layout.conformance():
        return None
    return ConformanceDirectory.from_parent(parent, path=path)
