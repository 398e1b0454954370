"""The hooks of a conformance session, from its start to its end."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.config.parsing import KIND, NETNS
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.plugin.collection import CheckItem, conformance_directory
from pytest_fsmredir.plugin.garbage import leave_out_of_collections
from pytest_fsmredir.plugin.nodes import NodeVerdicts, in_turn
from pytest_fsmredir.plugin.progress import SweepProgress
from pytest_fsmredir.plugin.termination import Termination, drop_frames_without_line
from pytest_fsmredir.report.hygiene import Hygiene
from pytest_fsmredir.report.sections import FailureSections
from pytest_fsmredir.report.terminal import collected, header, summary
from pytest_fsmredir.suite.backends import shared_cluster
from pytest_fsmredir.suite.judgement import Judgement, Verdict, judge_run
from pytest_fsmredir.suite.runner import Runner
from pytest_fsmredir.text import printable

_ROW = "fsm_row"
_GATE_ROW = "fsm_gate_row"
_WORKER = "fsmredir"
NODES = "fsmredir_nodes"
"""Key under which a worker receives the names of the nodes to run on."""

_ACCEPTED = {
    "none": frozenset(Verdict) - {Verdict.INVALID},
    "partial": frozenset({Verdict.CONFORMANT, Verdict.PARTIAL}),
    "conformant": frozenset({Verdict.CONFORMANT}),
}
_STATUS = {
    Outcome.WARN: ("warned", "W", ("WARN", {"yellow": True})),
    Outcome.NOTE: ("noted", "n", ("NOTE", {"blue": True})),
    Outcome.UNSUPPORTED: ("unsupported", "u", ("UNSUPPORTED", {"yellow": True})),
    Outcome.WAIVED: ("waived", "w", ("WAIVED", {"yellow": True})),
    Outcome.NOT_RUN: ("not run", "-", ("NOT RUN", {"yellow": True})),
    Outcome.ERROR: ("error", "E", ("ERROR", {"red": True})),
}


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of pytest-xdist's workers."""
    return hasattr(config, "workerinput")


class ConformanceHooks:
    """The hooks of a conformance session.

    Attributes:
        runner: Runs the checks.
    """

    def __init__(self, config: pytest.Config, runner: Runner) -> None:
        self._config, self.runner = config, runner
        self._plan, self._results = runner.plan, runner.results
        self._judgement: Judgement | None = None
        self._hygiene = Hygiene()
        self._collected: list[CheckItem] = []
        self._files: list[Path] = []
        self._node_verdicts = NodeVerdicts(self._plan, self._results)
        self._shared_cluster = ExitStack()
        self._sections = FailureSections(_ROW)
        self._refusal = ""
        self._termination = Termination()

    def prepare_report(self) -> None:
        """Prepare the directory of the report if the user requested one.

        Raises:
            SettingsError: The report cannot be written there.
        """
        if self._plan.settings.report is not None:
            from pytest_fsmredir.report.write import prepare_directory

            prepare_directory(self._plan.settings.report)

    def write_report(self) -> None:
        """Write the report if the user requested one."""
        if self._plan.settings.report is None:
            return
        from pytest_fsmredir.report.facts import facts
        from pytest_fsmredir.report.write import write_report

        self._hygiene.notice_surroundings(self._config)
        found = facts(self._plan, self._results, self._hygiene, self._config)
        judgement = judge_run(self._plan, self._results)
        self._files = write_report(self._plan, judgement, found, self._plan.settings.report)

    def pytest_report_header(self) -> list[str]:
        """Return lines that name the implementation, the suite and the machine."""
        return header(self._plan, self._results)

    def pytest_sessionstart(self) -> None:
        """Show the progress of long sweeps, and handle signals like Ctrl-C."""
        self._termination.watch()
        reporter = self._reporter()
        if reporter is not None and self._plan.settings.exhaustive and reporter.verbosity >= 0:
            self.runner.watch = SweepProgress(self._config, reporter)

    def pytest_collect_directory(
        self, path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Collect the folder of checks with our collector."""
        return conformance_directory(path, parent)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Record the checks before a plugin or an option deselects any."""
        if isinstance(item, CheckItem):
            self._collected.append(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Order the checks node by node: the pods of a few nodes exist at a time."""
        items[:] = in_turn(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Compare the remaining checks with the recorded ones."""
        left = [item.name for item in session.items if isinstance(item, CheckItem)]
        collected_names = [item.name for item in in_turn(self._collected)]
        self._hygiene.notice_selection(collected_names, left)
        self._node_verdicts.expect(session.items)

    def pytest_report_collectionfinish(self, items: Iterable[pytest.Item]) -> list[str]:
        """Report how many checks of each profile will run."""
        line = collected(item.profile for item in items if isinstance(item, CheckItem))
        return [line] if line and not self._config.option.collectonly else []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Create clusters and their pods after the collection and before the first check."""
        halted = session.testsfailed and not self._config.option.continue_on_collection_errors
        if not (halted or self._config.option.collectonly or is_worker(self._config)):
            self._bring_up(session)
        leave_out_of_collections()
        if not (halted or self._config.option.collectonly or self._distributes):
            self.runner.begin(each for each in _checks_of(session) if each[0].in_two_parts)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach a check's row to its report, so that a worker sends it to the controller."""
        report = yield
        row = item.row_of(report, call.excinfo) if isinstance(item, CheckItem) else None
        if row is not None:
            setattr(report, _ROW, row.as_dict())
            if (gate := self.runner.gate_row(row)) is not None:
                setattr(report, _GATE_ROW, gate.as_dict())
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a row from this process or a worker."""
        document = getattr(report, _ROW, None)
        if document is not None:
            self._results.record(Row.from_dict(document))
        if (gate := getattr(report, _GATE_ROW, None)) is not None:
            self._results.record_gate(Row.from_dict(gate))
            self._refusal = self._refusal or report.capstderr

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print the verdict of a node after its last check."""
        self._node_verdicts.ended(nodeid, self._reporter())

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show the outcomes that pytest does not know."""
        document = getattr(report, _ROW, None)
        return _STATUS.get(Outcome(document["outcome"])) if document is not None else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist is optional
        """Send a worker the names of the nodes to run on."""
        node.workerinput[NODES] = {name: list(nodes) for name, nodes in self._plan.nodes.items()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist is optional
        """Merge the results that only a worker knows."""
        found = getattr(node, "workeroutput", {}).get(_WORKER)
        if found is not None:
            self._hygiene.merge(found)
            self._results.merge(found)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Record that a worker died during a check."""
        self._results.trouble = f"a worker of pytest-xdist died while it ran {crashitem}"

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record that the harness broke."""
        self._results.trouble = f"internal error: {printable(excinfo.exconly())}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record that the user interrupted the run."""
        drop_frames_without_line(excinfo)
        self._results.interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and set a non-zero exit status if a requirement is violated."""
        self._termination.ignore()
        try:
            if not is_worker(self._config) and not self._config.option.collectonly:
                self._conclude(session)
        finally:
            with self._results.removing(KIND), self._shared_cluster:
                self.runner.close()
            self._termination.release()
            if self._config.args == [str(layout.conformance())]:  # no garbage of the user's tests
                leave_out_of_collections()
        if is_worker(self._config):
            output: dict[str, object] = getattr(self._config, "workeroutput")  # noqa: B009
            output[_WORKER] = self._hygiene.for_controller() | self._results.for_controller()

    @pytest.hookimpl(specname="pytest_terminal_summary", wrapper=True, tryfirst=True)
    def pytest_terminal_summary_folded(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, object, object]:
        """Make pytest explain each group of failures once."""
        verbose = terminalreporter.verbosity > 0
        self._sections.fold(terminalreporter.stats, self._results.rows, verbose=verbose)
        try:
            return (yield)
        finally:
            self._sections.restore(terminalreporter.stats)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table of profiles and the verdict."""
        self._sections.shorten()
        if self._refusal and self._results.stopped_by_gate:
            terminalreporter.write_sep("=", "standard error of the implementation")
            terminalreporter.write_line(self._refusal.rstrip())
        if not self._config.option.collectonly:
            summary(
                terminalreporter,
                self._plan,
                self._results,
                self._judgement or judge_run(self._plan, self._results),
                self._hygiene.remarks(self._results.reruns),
                self._files,
                verbose=terminalreporter.verbosity > 0,
            )

    @property
    def _distributes(self) -> bool:
        """Whether this process distributes the checks to workers of pytest-xdist."""
        return self._config.pluginmanager.hasplugin("dsession")

    def _bring_up(self, session: pytest.Session) -> None:
        """Create clusters and pods.

        Raises:
            pytest.UsageError: A prerequisite is missing, or the creation failed.
        """
        others = [name for name in self._plan.settings.backends if name != NETNS]
        reporter = self._reporter()
        if others and reporter is not None and reporter.verbosity >= 0:
            reporter.write_line(f"bringing up: {', '.join(others)}")
        try:
            if self._distributes:
                self._shared_cluster.enter_context(shared_cluster(self._plan.settings))
            else:
                self.runner.prepare(_checks_of(session))
        except FsmRedirError as error:
            self._results.trouble = f"set-up failed: {error}"
            raise pytest.UsageError(str(error)) from None

    def _conclude(self, session: pytest.Session) -> None:
        try:
            self.write_report()
        except OSError as error:
            self._results.trouble = f"the report could not be written: {error}"
        self._judgement = judge_run(self._plan, self._results)
        accepted = self._judgement.verdict in _ACCEPTED[self._plan.settings.require]
        if session.exitstatus == pytest.ExitCode.OK and (self._judgement.failed or not accepted):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = self._reporter()
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR and reporter is not None:
            self.pytest_terminal_summary(reporter)  # pytest prints none after an internal error

    def _reporter(self) -> pytest.TerminalReporter | None:
        # The class of the reporter has a public name only since pytest 8.4.
        found: pytest.TerminalReporter | None
        found = self._config.pluginmanager.getplugin("terminalreporter")
        return found


def _checks_of(session: pytest.Session) -> Iterator[tuple[Check, Variant]]:
    """Yield the checks of a session, each with its variant."""
    for item in session.items:
        if isinstance(item, CheckItem):
            yield item.check, item.variant
