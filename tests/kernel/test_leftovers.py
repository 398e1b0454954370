"""A run leaves nothing on the machine, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.errors import PreflightError

pytestmark = pytest.mark.kernel

ARGV = [sys.executable, "-m", "pytest", "--fsm-conformance", "-p", "no:cacheprovider"]

HOST_STATE = (
    ["ip", "-o", "link"],
    ["ip", "-o", "address"],
    ["ip", "rule"],
    ["ip", "netns"],
    ["iptables-nft-save"],
    ["iptables-legacy-save"],
)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for the temporary files of one run."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def host_state() -> dict[str, str]:
    """Return the state of the host's network, without counters and time stamps."""
    state = {}
    for argv in HOST_STATE:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        lines = [line for line in done.stdout.splitlines() if not line.startswith(("#", ":"))]
        state[" ".join(argv)] = "\n".join(lines)
    return state


def open_descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def init_commands(marker: str) -> list[str]:
    """Return the running programs with a word on their command line."""
    lines = [entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = []
    for line in lines:
        with suppress(OSError):  # the process has ended meanwhile
            found.append(line.read_bytes().replace(b"\0", b" ").decode())
    return [line for line in found if marker in line]


def wait_until_removed(base: Path) -> None:
    """Wait for the guardian process, which sees the end of the run by a closed pipe."""
    waiting = 'while [ -n "$(ls -A "$1")" ]; do :; done'
    subprocess.run(["/bin/sh", "-c", waiting, "sh", str(base)], check=True, timeout=30)


def test_finished_run_leaves_nothing(scratch: Path) -> None:
    """Catches: a finished run leaves links, rules or files."""
    before = host_state()
    subprocess.run([*ARGV, "--fsm-check=OUT-001"], cwd=scratch, check=True, timeout=60)
    wait_until_removed(scratch)
    assert host_state() == before


def test_run_with_an_odd_path_leaves_nothing(
    scratch: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Catches: files stay because the user's PATH lacks the program that removes them."""
    tools = tmp_path_factory.mktemp("tools")
    for name in ("newuidmap", "newgidmap"):  # the run of an unprivileged user needs them
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    env = {**os.environ, "PATH": str(tools)}
    subprocess.run([*ARGV, "--fsm-check=OUT-001"], cwd=scratch, check=True, timeout=60, env=env)
    wait_until_removed(scratch)


def test_killed_run_leaves_nothing(scratch: Path) -> None:
    """Catches: a pod, a rule or a temporary file outlives SIGKILL."""
    before = host_state()
    waits = f"echo ready > {scratch}/ready.fifo; sleep 60"
    os.mkfifo(scratch / "ready.fifo")
    run = subprocess.Popen([*ARGV, "--fsm-check=OUT-001", f"--fsm-init-cmd={waits}"], cwd=scratch)
    (scratch / "ready.fifo").read_text()  # returns when the init command runs in its pod
    run.send_signal(signal.SIGKILL)
    run.wait(30)
    (scratch / "ready.fifo").unlink()
    wait_until_removed(scratch)
    assert init_commands(f"> {scratch}/ready.fifo") == []
    assert host_state() == before


def test_preflight_makes_nothing(scratch: Path) -> None:
    """Catches: the preflight leaves a namespace open."""
    try:
        privileges.acquire("root")  # opens the process's own namespace, which stays open
    except PreflightError:
        pytest.skip("not root")
    descriptors = open_descriptors()
    privileges.acquire("root")
    assert open_descriptors() == descriptors
