"""The hooks of ``--fsm-benchmark``: measure after the tests, and print the figures."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.report.benchmark import benchmark_lines
from pytest_fsmredir.suite.benchmark.run import Benchmark
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results


class BenchmarkHooks:
    """The hooks of a run that measures.

    Args:
        config: The configuration of pytest.
        plan: The plan of the run.
        results: Receives the figures.
        alone: Whether the run judges nothing.
    """

    def __init__(self, config: pytest.Config, plan: Plan, results: Results, *, alone: bool) -> None:
        self._config, self._plan, self._results, self._alone = config, plan, results, alone
        self._given = config.args_source is pytest.Config.ArgsSource.ARGS
        self._files: list[Path] = []
        self._trouble = ""

    def pytest_report_header(self) -> list[str]:
        """Return a line that names the implementation, if nothing else does."""
        return [f"benchmark of {self._plan.implementation.name}"] if self._alone else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        """Collect nothing if the user named no tests and wants no verdict."""
        if not self._alone or self._given:
            return None
        session.items = []
        return True

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Measure after the tests."""
        done = yield
        halted = session.shouldstop or session.shouldfail or self._config.option.collectonly
        if not halted:
            self._measure()
        return done

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files of a run that judges nothing, and set its exit status."""
        if not self._alone:
            return
        directory = self._plan.settings.report
        if directory is not None and self._results.benchmark:
            from pytest_fsmredir.report.benchmark import write_benchmark

            try:
                self._files = write_benchmark(self._results.benchmark, directory)
            except OSError as error:
                self._trouble = f"the files could not be written: {error}"
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            failed = pytest.ExitCode.TESTS_FAILED
            session.exitstatus = failed if self._trouble else pytest.ExitCode.OK

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the figures."""
        if not (self._results.benchmark or self._trouble):
            return
        terminalreporter.write_sep("=", "benchmark")
        if self._trouble:
            terminalreporter.write_line(f"not measured: {self._trouble}", yellow=True)
        for line in benchmark_lines(self._results.benchmark):
            terminalreporter.write_line(line)
        if self._files:
            terminalreporter.write_line(f"files: {' '.join(map(str, self._files))}")

    def _measure(self) -> None:
        benchmark = Benchmark(self._plan)
        try:
            benchmark.run()
        except FsmRedirError as error:
            self._trouble = str(error)
        finally:
            self._results.benchmark = benchmark.document
