"""Run the suite with the options and plugins that pytest users know."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Ended, Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

OF_A_POD = re.compile(r"10\.77\.0\.\d+|fd77:1::[0-9a-f]+")
CACHE = ("-p", "cacheprovider", "-p", "stepwise")
"""Options that enable pytest's cache, which our tests disable otherwise."""


def test_workers_have_the_results_of_one_process(project: Project) -> None:
    """Catches: rows that are lost on the way from a worker, or a verdict of half of them."""
    pytest.importorskip("xdist")
    few = ("--fsm-check=OUT-00[1-5],UID-001", "--fsm-report=out")
    alone = project.conform(*few)
    spread = project.conform(*few, "-n", "2")
    assert (alone.status, spread.status) == (0, 0)
    digest = alone.report["resultsDigest"]
    assert spread.report["resultsDigest"] == digest
    assert spread.report["run"]["hygiene"]["workers"] == 2


DUMP_EVERY_ROW = """\
import execnet
def pytest_runtest_logreport(report):
    if hasattr(report, "fsm_row"):
        execnet.dumps(report.fsm_row)
"""


def found(ended: Ended) -> list[tuple[str, ...]]:
    """Return the results of a run without the addresses of pods and the ports of clients."""
    keys = ("id", "variant", "outcome", "reason", "flow", "expected", "seen")
    rows = [[row[key] for key in keys] for row in ended.report["checks"]]
    return [tuple(OF_A_POD.sub("POD", text) for text in row) for row in rows]


def test_workers_send_every_row(project: Project) -> None:
    """Catches: a crash of ``-n 2`` at a row that holds an enum, or rows that differ."""
    pytest.importorskip("xdist")
    project.write(conftest__py=DUMP_EVERY_ROW)
    broken = (
        "--fsm-init-cmd=true", "--fsm-ip=4", "--fsm-report=out",
        "--fsm-check=OUT-00*,CT-*,CFG-0[01]*,OPX-00*,INIT-00*,SAN-*,UID-00*",
    )  # fmt: skip
    alone = project.conform(*broken, "-n", "0")
    assert alone.status == pytest.ExitCode.TESTS_FAILED, alone.output
    rows = found(alone)
    spread = project.conform(*broken, "-n", "2")
    assert spread.status == pytest.ExitCode.TESTS_FAILED, spread.output
    assert found(spread) == rows


def test_keyword_junit_and_verbose_names(project: Project) -> None:
    """Catches: ids that are missing where pytest users look for them."""
    ended = project.conform(
        "-k", "remote_address_is_captured or (UID-001 and v4)", "-v", "--fsm-iptables=nft",
        "--junitxml=own.xml", "--fsm-check=OUT-00*,UID-00*",
    )  # fmt: skip
    assert ended.status == pytest.ExitCode.OK
    names = {case.get("name") for case in project.cases("own.xml")}
    assert names == {"OUT-001[netns-nft-v4]", "OUT-001[netns-nft-v6]", "UID-001[netns-nft-v4]"}
    assert "OUT-001[netns-nft-v4]" in ended.output


def test_stopping_at_the_first_failure_leaves_the_rest_not_run(project: Project) -> None:
    """Catches: a check that counts as passed although it never ran."""
    ended = project.conform(
        "-x", "--fsm-init-cmd=true", "--fsm-check=OUT-00*", "--fsm-ip=4", "--fsm-report=out"
    )
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "nonconformant")
    assert ended.outcomes() == ["fail"]


def test_first_failure_is_that_of_plain_traffic(project: Project) -> None:
    """Catches: COEX-001 as the only message about a mesh without rules."""
    ended = project.conform(
        "-x", "--fsm-init-cmd=true", "--fsm-check=COEX-*,CFG-*,UID-001,OUT-001", "--fsm-ip=4"
    )
    assert "FAIL   OUT-001 [netns-nft-v4]" in ended.output
    assert "1 failed" in ended.output


@pytest.mark.parametrize("environment", [{}, {"CI": "1"}], ids=["terminal", "CI"])
def test_one_fault_is_explained_once(project: Project, environment: dict[str, str]) -> None:
    """Catches: an explanation for each check, and each of them twice where CI is set."""
    ended = project.conform(
        "--fsm-init-cmd=true", "--fsm-check=OUT-001,OUT-002,UID-001", "--fsm-ip=4", **environment
    )
    assert "3 failed" in ended.output
    assert ended.output.count("  requirement  ") == 1
    lines = [line for line in ended.output.splitlines() if line.startswith("FAIL   ")]
    assert [line.split()[1] for line in lines] == ["OUT-001"]
    assert "2 more checks fail: UID-001, OUT-002" in " ".join(ended.output.split())


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--lf", "1 failed, 1 deselected"),
        ("--ff", "rerun previous 1 failure first"),
        ("--sw", "1 failed, 1 deselected"),
    ],
)
def test_last_failure_is_found_again(project: Project, option: str, told: str) -> None:
    """Catches: ids that change between runs, so that ``--lf`` runs everything."""
    apply = f"{sys.executable} -m pytest_fsmredir reference apply"
    command = f'[ -z "$FSM_OUTBOUND_PORT_EXCLUSION_LIST" ] && {apply}'
    arguments = (
        *CACHE, option, "--fsm-init-cmd", command, "--fsm-check=OUT-001,OPX-001", "--fsm-ip=4",
    )  # fmt: skip
    assert "1 failed, 1 passed" in project.conform(*arguments).output
    assert told in project.conform(*arguments).output


def test_new_checks_run_first(project: Project) -> None:
    """Catches: ids that change between runs, so that ``--nf`` takes all checks for new."""
    project.conform(*CACHE, "--fsm-check=OUT-001", "--fsm-ip=4")
    ended = project.conform(*CACHE, "--nf", "-v", "--fsm-check=OUT-001,OPX-001", "--fsm-ip=4")
    assert ended.output.index("::OPX-001[") < ended.output.index("::OUT-001[")


@pytest.mark.parametrize(("require", "status"), [("partial", 0), ("conformant", 1)])
def test_verdict_becomes_the_exit_status_on_demand(
    project: Project, require: str, status: int
) -> None:
    """Catches: a CI job that stays green on a partial verdict although it requires more."""
    ended = project.conform("--fsm-check=OUT-001", "--fsm-ip=4", f"--fsm-require={require}")
    assert (ended.status, ended.verdict) == (status, "partial")


def test_own_tests_run_together_with_the_suite(project: Project) -> None:
    """Catches: a path on the command line that is ignored, or that replaces the suite."""
    project.write(test_own__py="def test_own(): pass\n")
    ended = project.conform("test_own.py", "--fsm-check=OUT-001", "--fsm-ip=4", "-v")
    assert "test_own.py::test_own PASSED" in ended.output
    assert "2 passed" in ended.output


LOOKS_FOR_GARBAGE = """\
import gc
made = []
def pytest_runtest_teardown():
    made.append([])
def pytest_unconfigure():
    tracked = {id(each) for each in gc.get_objects()}
    print("left to collect:", sum(id(each) in tracked for each in made))
"""


def test_only_garbage_of_own_tests_is_collected_at_the_end(project: Project) -> None:
    """Catches: five collections of all that a run made, or an own test whose leaks go unseen."""
    project.write(looking__py=LOOKS_FOR_GARBAGE, test_own__py="def test_own(): pass\n")
    few = ("-p", "looking", "--fsm-check=OUT-001", "--fsm-ip=4")
    assert "left to collect: 0" in project.conform(*few).output
    assert "left to collect: 2" in project.conform(*few, "test_own.py").output


def interrupted(project: Project, number: signal.Signals, command: str, *options: str) -> str:
    """Send a signal to a run once its init command opens ``ready``; return what the run prints."""
    ready = project.path / "ready"
    os.mkfifo(ready)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    run = subprocess.Popen(
        [*argv, "--fsm-conformance", "--fsm-report=out", "--fsm-init-cmd", command,
         "--fsm-init-timeout=300", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project.path,
        # Under nohup or in a shell's background job these tests inherit an ignored signal.
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),
    )  # fmt: skip
    ready.read_text()  # returns once the command opens it
    run.send_signal(number)
    output, _ = run.communicate(timeout=120)  # less than the 300 s limit of the command
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "interrupted  before the end" in output
    assert "ended: interrupted" in (project.path / "out/report.yaml").read_text()
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_reports_its_results(project: Project, number: signal.Signals) -> None:
    """Catches: a signal that waits for an init command, prints nothing, or leaves it running."""
    marker = f"sleep 9{os.getpid()}"
    command = f'[ "$POD_IP" = 10.77.0.1 ] || {{ echo >{project.path}/ready; {marker}; }}'
    output = interrupted(project, number, command, "--fsm-check=OUT-001,OPX-001")
    assert "verdict: nonconformant" in output
    assert project.left_running(marker) == []


def test_interrupted_search_says_where_to_go_on(project: Project) -> None:
    """Catches: a search of thousands of policies that has to begin again, or leaves a pod."""
    marker, count = f"sleep 9{os.getpid()}", project.path / "count"
    wait = f"echo >{project.path}/ready; {marker}"
    apply = f"{sys.executable} -m pytest_fsmredir reference apply"
    command = f"echo >>{count}; [ $(wc -l <{count}) -lt 6 ] || {{ {wait}; }}; {apply}"
    options = ("--fsm-fuzz=1-5000", "--fsm-seed=7", "--fsm-check=FUZ-001", "--fsm-ip=4")
    output = interrupted(project, signal.SIGTERM, command, *options)
    assert re.search(r"go on with --fsm-seed 7 --fsm-fuzz \d+-5000", output), output
    assert project.left_running(marker) == []


INTERRUPTS_BETWEEN_LINES = """\
def pytest_runtest_call():
    code = compile("raise KeyboardInterrupt", "no lines", "exec")
    exec(code.replace(co_linetable=b""))
"""


def test_interrupt_of_an_instruction_without_a_line_is_reported(project: Project) -> None:
    """Catches: an internal error of pytest, which counts on a line for each frame."""
    project.write(interrupting__py=INTERRUPTS_BETWEEN_LINES)
    ended = project.conform("-p", "interrupting", "--fsm-check=OUT-001", "--fsm-ip=4")
    assert ended.status == pytest.ExitCode.INTERRUPTED, ended.output
    assert "interrupted  before the end" in ended.output


def test_idle_connections_of_both_variants_do_not_collide(project: Project) -> None:
    """Catches: a server port that the idle connections of one variant keep from the other."""
    ended = project.conform("--fsm-iptables=both", "--fsm-check=CT-010", "--fsm-ip=4")
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert "2 passed" in ended.output
