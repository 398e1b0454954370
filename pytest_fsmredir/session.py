"""A conformance session: preparing it, its hooks, and its end."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_fsmredir import catalogue, layout
from pytest_fsmredir.backends.netns import preflight, privileges
from pytest_fsmredir.collection import CheckItem, conformance_directory
from pytest_fsmredir.errors import FsmRedirError, PreflightError, SettingsError
from pytest_fsmredir.implementations.select import claimed_features, select
from pytest_fsmredir.options import Settings, read_settings
from pytest_fsmredir.outcomes import Outcome, Row
from pytest_fsmredir.report.describe import explanation, listing
from pytest_fsmredir.report.terminal import header, summary
from pytest_fsmredir.report.verdict import Verdict, worst
from pytest_fsmredir.run import RUN, Run
from pytest_fsmredir.spec.checks import Catalogue, Profile

_ROW = "fsm_row"
_ACCEPTED = {
    "none": frozenset(Verdict),
    "partial": frozenset({Verdict.CONFORMANT, Verdict.PARTIAL}),
    "conformant": frozenset({Verdict.CONFORMANT}),
}
_STATUS = {
    Outcome.WARN: ("warned", "W", ("WARN", {"yellow": True})),
    Outcome.NOTE: ("noted", "n", ("NOTE", {"blue": True})),
    Outcome.UNSUPPORTED: ("unsupported", "u", ("UNSUPPORTED", {"yellow": True})),
    Outcome.NOT_RUN: ("not run", "-", ("NOT RUN", {"yellow": True})),
    Outcome.ERROR: ("error", "E", ("ERROR", {"red": True})),
}


def describe(config: pytest.Config) -> int:
    """Print the catalogue or one check, and return the exit status."""
    try:
        if config.getoption("fsm_list"):
            text = listing(catalogue.load(), config.getoption("fsm_list"))
        else:
            text = explanation(catalogue.load(), config.getoption("fsm_explain"))
    except FsmRedirError as error:
        raise pytest.UsageError(str(error)) from None
    sys.stdout.write(text + "\n")
    return pytest.ExitCode.OK


def prepare(config: pytest.Config) -> Run | None:
    """Return the run that was asked for, with the privileges it needs; None if none was.

    Raises:
        pytest.UsageError: A setting cannot be used, or the machine lacks something.
    """
    # The host project's naming patterns may not match our files, so say it outright.
    pytest.register_assert_rewrite(catalogue.PACKAGE)
    try:
        settings = read_settings(config)
        if not settings.conformance:
            return None
        run = _run(settings, will_run=not config.option.collectonly and not _is_worker(config))
    except (SettingsError, PreflightError) as error:
        raise pytest.UsageError(str(error)) from None
    _aim_at_suite(config)
    config.stash[RUN] = run
    return run


class ConformanceHooks:
    """The hooks of a conformance session."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._config, self._run = config, run

    def pytest_report_header(self) -> list[str]:
        """Say what is judged, on what."""
        return header(self._run)

    def pytest_collect_directory(
        self, path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Collect the folder of checks our own way."""
        return conformance_directory(path, parent)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send a check's row along with its report, so that it survives the way from a worker."""
        report = yield
        row = item.row_of(report) if isinstance(item, CheckItem) else None
        if row is not None:
            setattr(report, _ROW, row.as_dict())
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a row, from this process or a worker."""
        document = getattr(report, _ROW, None)
        if document is not None:
            self._run.record(Row.from_dict(document))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show the outcomes that pytest has no word for."""
        document = getattr(report, _ROW, None)
        return _STATUS.get(Outcome(document["outcome"])) if document is not None else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the verdict set the exit status, where that was asked for."""
        self._run.close()
        if self._config.option.collectonly or _is_worker(self._config):
            return
        verdict = worst(self._run.results())
        too_low = verdict not in _ACCEPTED[self._run.settings.require]
        if too_low and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table of profiles and the verdict."""
        if not self._config.option.collectonly:
            summary(terminalreporter, self._run)


def _run(settings: Settings, *, will_run: bool) -> Run:
    checks = catalogue.load()
    _reject_unknown(settings, checks)
    implementation = select(settings)
    features = claimed_features(implementation, settings.features)
    privilege = privileges.acquire(settings.privilege) if will_run else "not acquired"
    default = preflight.default_iptables(settings.iptables)
    variants = settings.variants("netns", default)
    if will_run:
        preflight.probe(variants)
    return Run(settings, checks, implementation, variants, features, privilege)


def _reject_unknown(settings: Settings, checks: Catalogue) -> None:
    from fnmatch import fnmatchcase

    for glob in settings.checks:
        if not any(fnmatchcase(check.id, glob) for check in checks.checks):
            raise SettingsError(f"--fsm-check: no check is called {glob!r}; see --fsm-list")
    for name in settings.profiles:
        if name not in list(Profile):
            raise SettingsError(
                f"--fsm-profile: no profile is called {name!r}; known: {', '.join(Profile)}"
            )


def _aim_at_suite(config: pytest.Config) -> None:
    """Collect the suite: alone, or beside the paths the user gave."""
    suite = str(layout.conformance())
    given = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [*config.args, suite] if given else [suite]


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
