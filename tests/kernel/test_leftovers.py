"""A run leaves nothing on the machine, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files of the run alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def host_state() -> dict[str, str]:
    """Return what the host's own network looks like, counters and time stamps left out."""
    state = {}
    for argv in HOST_STATE:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        lines = [line for line in done.stdout.splitlines() if not line.startswith(("#", ":"))]
        state[" ".join(argv)] = "\n".join(lines)
    return state


def network_namespaces(of: int) -> set[str]:
    """Return the network namespaces that other processes than one are in."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != of:
            try:
                found.add(os.readlink(entry / "ns" / "net"))
            except OSError:
                continue
    return found


def wait_until_removed(base: Path) -> None:
    """Wait for the guardian, which notices our end by the closing of a pipe."""
    lock = subprocess.run(
        ["/bin/sh", "-c", 'while [ -n "$(ls -A "$1")" ]; do :; done', "sh", str(base)],
        check=False,
        timeout=30,
    )
    assert lock.returncode == 0


def test_finished_run_leaves_nothing(scratch: Path) -> None:
    """Links, rules or files of a run that ended well."""
    before = host_state()
    subprocess.run([*ARGV, "--fsm-check=OUT-001"], cwd=scratch, check=True, timeout=60)
    wait_until_removed(scratch)
    assert host_state() == before


def test_killed_run_leaves_nothing(scratch: Path) -> None:
    """A pod, a rule or a temporary file that outlives SIGKILL."""
    before = host_state()
    waits = f"echo ready > {scratch}/ready.fifo; sleep 60"
    os.mkfifo(scratch / "ready.fifo")
    run = subprocess.Popen(
        [*ARGV, "--fsm-check=OUT-001", f"--fsm-init-cmd={waits}"], cwd=scratch
    )
    (scratch / "ready.fifo").read_text()  # returns once the init command is at work in its pod
    run.send_signal(signal.SIGKILL)
    run.wait(30)
    (scratch / "ready.fifo").unlink()
    wait_until_removed(scratch)
    assert host_state() == before


def test_preflight_makes_nothing(scratch: Path) -> None:
    """A namespace made for looking that stays open."""
    descriptors = set(os.listdir("/proc/self/fd"))
    try:
        privileges.acquire("root")
    except PreflightError:
        pytest.skip("not root")
    assert set(os.listdir("/proc/self/fd")) == descriptors
