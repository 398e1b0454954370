"""Projects whose settings, fixtures and hooks interfere with the suite: never a silent pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

SKIP_EVERYTHING = """\
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip(reason="not today"))
"""
DROP_EVERY_SECOND = """\
def pytest_collection_modifyitems(items):
    del items[::2]
    items.reverse()
"""
BREAK_SETUP = """\
def pytest_runtest_setup(item):
    raise RuntimeError("no")
"""
BREAK_CALL = """\
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    raise RuntimeError("no")
"""
LEAK = """\
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    open("leaked.txt", "w")
"""
NO_NETWORK = """\
import socket
def guard(*_args, **_kwargs):
    raise AssertionError("tests must not use the network")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = guard
"""
RUN_NOTHING = """\
def pytest_collection_modifyitems(items):
    for item in items:
        item.runtest = lambda: None
"""
GREEN_EVERYTHING = """\
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report
"""


def test_settings_and_fixtures_of_the_project_do_not_matter(project: Project) -> None:
    """Catches: a suite that collects nothing, or fails, because of a project's pytest.ini."""
    project.write(
        pytest__ini="[pytest]\npython_files = check_*.py\npython_functions = check_*\n"
        "filterwarnings = error\n"
        "addopts = --strict-markers --strict-config --import-mode=importlib -ra\n",
        conftest__py="import pytest\n"
        "@pytest.fixture(autouse=True)\n"
        "def nobody_expects_this():\n"
        "    raise RuntimeError('autouse')\n",
    )
    ended = project.conform("--fsm-check=OUT-001", "--fsm-report=out")
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert ended.outcomes() == ["pass", "pass"]
    hygiene = ended.report["run"]["hygiene"]
    assert hygiene["foreignConftests"] == ["conftest.py"]
    assert hygiene["settings"]["python_files"] == "check_*.py"


def test_run_with_a_deselected_check_is_not_conformant(project: Project) -> None:
    """Catches: a certificate for a selection of checks."""
    addopts = "--deselect conformance/s04_the_sidecars_user_id --deselect s04_the_sidecars_user_id"
    ended = project.conform(
        "--fsm-profile=core", "--fsm-ip=4", "--fsm-check=UID-00[12],OUT-001", "-k", "not UID-001",
        "--fsm-require=conformant", "--fsm-report=out", PYTEST_ADDOPTS=addopts,
    )  # fmt: skip
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "partial")
    assert ended.report["run"]["hygiene"]["deselected"] >= 1
    assert "deselected by pytest" in ended.output
    assert ended.report["run"]["hygiene"]["settings"]["PYTEST_ADDOPTS"] == addopts


def test_checks_that_a_hook_drops_are_reported(project: Project) -> None:
    """Catches: a hook that removes checks without a report to pytest."""
    project.write(conftest__py=DROP_EVERY_SECOND)
    ended = project.conform("--fsm-check=OUT-00[1-4]", "--fsm-ip=4", "--fsm-report=out")
    hygiene = ended.report["run"]["hygiene"]
    assert (hygiene["deselected"], hygiene["reordered"]) == (2, True)
    assert "order of the checks changed" in ended.output
    assert ended.verdict == "partial"


def test_skipped_checks_did_not_run(project: Project) -> None:
    """Catches: a conformant verdict from a project that skips everything."""
    project.write(conftest__py=SKIP_EVERYTHING)
    ended = project.conform("--fsm-check=OUT-001", "--fsm-report=out")
    assert ended.verdict == "invalid"
    assert ended.outcomes() == []


@pytest.mark.parametrize("hook", [BREAK_SETUP, BREAK_CALL, LEAK], ids=["setup", "call", "leak"])
def test_hook_that_breaks_checks_is_not_blamed_on_the_implementation(
    project: Project, hook: str
) -> None:
    """Catches: a nonconformant verdict, or an unexplained FAILED, because of a plugin."""
    project.write(hostile__py=hook)
    ended = project.conform(
        "-p", "hostile", "-W", "error", "--fsm-check=OUT-001", "--fsm-ip=4", "--fsm-report=out",
        PYTHONPATH=str(project.path),
    )  # fmt: skip
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "invalid")
    assert ended.outcomes() == ["error"]
    assert "run again" not in ended.output
    assert "hostile" in ended.report["run"]["hygiene"]["plugins"]


def test_guard_of_the_project_is_not_blamed_on_the_implementation(project: Project) -> None:
    """Catches: a nonconformant verdict because a project forbids network access in tests."""
    project.write(conftest__py=NO_NETWORK)
    ended = project.conform("--fsm-check=OUT-001,PROTO-001", "--fsm-ip=4", "--fsm-report=out")
    assert ended.outcomes() == ["error"] * 2
    assert "tests must not use the network" in ended.output


@pytest.mark.parametrize("hook", [SKIP_EVERYTHING, RUN_NOTHING], ids=["skip", "nothing"])
def test_run_that_observed_nothing_fails(project: Project, hook: str) -> None:
    """Catches: a green job whose verdict is invalid."""
    project.write(conftest__py=hook)
    ended = project.conform("--fsm-check=OUT-001", "--fsm-ip=4")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "invalid")


@pytest.mark.parametrize("optimize", ["", "1"])
@pytest.mark.parametrize("mode", ["rewrite", "plain"])
def test_verdict_does_not_depend_on_how_assertions_are_compiled(
    project: Project, mode: str, optimize: str
) -> None:
    """Catches: exit status 0 under ``python -O``, or rows without flow and fate."""
    ended = project.conform(
        f"--assert={mode}", "--fsm-check=OUT-002,OUT-003,OUT-016", "--fsm-ip=4",
        "--fsm-init-cmd=true", "--fsm-require=partial", "--fsm-report=out",
        PYTHONOPTIMIZE=optimize,
    )  # fmt: skip
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "nonconformant")
    rows = [row for row in ended.report["checks"] if row["outcome"] == "fail"]
    assert [row["flow"] for row in rows] == [
        "tcp from uid 1000 to 198.51.100.10:1",
        "tcp from uid 1000 to 198.51.100.10:80",
        "tcp from uid 1000 to 198.51.100.10:15000",
    ]
    assert {row["expected"] for row in rows} == {"captured outbound"}
    assert [row["seen"].partition(" ")[0] for row in rows] == ["refused", "accepted", "refused"]


def test_hook_that_forces_passes_does_not_change_the_verdict(project: Project) -> None:
    """Catches: a green run of an implementation that does nothing."""
    project.write(hostile__py=GREEN_EVERYTHING)
    ended = project.conform(
        "-p", "hostile", "--fsm-check=OUT-001", "--fsm-ip=4", "--fsm-init-cmd=true",
        PYTHONPATH=str(project.path),
    )  # fmt: skip
    assert "1 passed" in ended.output
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "nonconformant")


def test_run_without_terminal_reporter_keeps_report_and_status(project: Project) -> None:
    """Catches: a crash, or a lost exit status, in a project without the terminal plugin."""
    ended = project.conform(
        "-p", "no:terminal", "--fsm-check=OUT-001", "--fsm-ip=4", "--fsm-init-cmd=true",
        "--fsm-report=out",
    )  # fmt: skip
    assert ended.status == pytest.ExitCode.TESTS_FAILED, ended.output
    assert ended.report["verdict"] == "nonconformant"
