"""``--fsm-pause-on-fail``: a shell in the pod of a failed check."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.plugin.pause import Pause
from tests.plugin.conftest import Project

if TYPE_CHECKING:
    from pytest_fsmredir.backends.protocols import JudgedMesh, Suspect

RUN = ("--fsm-init-cmd", "true", "--fsm-ip", "4", "--fsm-check", "OUT-001")


@pytest.mark.usefixtures("namespaces")
def test_the_shell_is_in_the_pod_and_the_run_goes_on(project: Project) -> None:
    """Catches: a shell outside the pod, or without the terminal that pytest captures."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "pytest", "--fsm-conformance", "--fsm-pause-on-fail", *RUN]
    process = subprocess.Popen(
        argv, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, b"ip -o addr show dev eth0; exit\n")
    printed = _all(ours)
    assert process.wait(60) == 1
    assert "paused at OUT-001[netns-" in printed
    assert "10.77.0." in printed.partition("try\r\n")[2]
    assert "verdict: nonconformant" in printed


def _all(terminal: int) -> str:
    """Return what is printed on a terminal until its programs have ended."""
    printed = b""
    with suppress(OSError):  # EIO: the other side is closed
        while piece := os.read(terminal, 65536):
            printed += piece
    os.close(terminal)
    return printed.decode(errors="replace")


def test_a_pause_without_a_terminal_is_refused(project: Project) -> None:
    """Catches: a run on CI that waits for a shell that nobody types into."""
    ended = project.conform("--fsm-pause-on-fail", *RUN)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "--fsm-pause-on-fail: standard input or output is not a terminal" in ended.output


class NoShell:
    """A mesh whose cluster admits no container."""

    def enter(self, _pod: object) -> None:
        raise BackendError("pod web takes no ephemeral container")


def test_run_goes_on_where_no_shell_opens(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a cluster without ephemeral containers ends the run, or hides the reason."""
    monkeypatch.setattr("pytest_fsmredir.plugin.pause.terminal", nullcontext)
    row = Row(check="OUT-001", variant=Variant("kind", "nft", 4), outcome=Outcome.FAIL)
    pod = SimpleNamespace(address="10.1.0.5")
    Pause(pytestconfig)(row, cast("JudgedMesh", NoShell()), cast("Suspect", pod))

    written = capsys.readouterr().out
    assert "paused at OUT-001[kind-nft-v4]" in written
    assert written.endswith("no shell: pod web takes no ephemeral container\n")


def test_a_pause_of_workers_is_refused(project: Project) -> None:
    """Catches: workers of pytest-xdist that wait for input that never comes."""
    ended = project.conform("--fsm-pause-on-fail", "-n", "2", *RUN)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "workers of pytest-xdist have no terminal" in ended.output
