"""Start programs, limit them and clean up after them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.cluster.namespaces import is_over, ourselves
from pytest_fsmredir.errors import CommandError
from pytest_fsmredir.procs import run, run_any


def test_file_limit_ends_a_program_that_never_stops_writing(tmp_path: Path) -> None:
    """Catches: a program that fills the disk, or a limit too small for the image that it writes."""
    file = tmp_path / "file"

    # The limit is set once the program has started.
    script = 'until [ "$(ulimit -f)" = 2048 ]; do :; done; yes >"$1"'

    with pytest.raises(CommandError):
        run(["/bin/sh", "-c", script, "sh", str(file)], file_limit=2048 * 512)
    assert file.stat().st_size == 2048 * 512


def test_deadline_ends_the_children_of_a_program_as_well(tmp_path: Path) -> None:
    """Catches: a run of ``verify --rerun`` whose pytest is killed and whose workers go on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = 'exec 3>"$1"; sleep 1000 & echo >&3; wait'  # both hold the pipe's other end

    status, _, _ = run_any(["/bin/sh", "-c", script, "sh", str(pipe)], timeout_s=1.0, apart=True)

    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    try:
        assert status is None
        assert os.read(reader, 1) == b"\n"
        assert poll.poll(10_000)[0][1] & select.POLLHUP
    finally:
        os.close(reader)


GUARDED = """
import sys
from pytest_fsmredir.procs import Guardian
guardian = Guardian(["touch", sys.argv[1]])
if sys.argv[2] == "dismiss":
    guardian.dismiss()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("then", "cleaned"), [("die", True), ("dismiss", False)])
def test_guardian_acts_only_if_its_process_dies(tmp_path: Path, then: str, cleaned: bool) -> None:
    """Catches: leftovers of a killed run, or a cluster that is cleaned up during its run."""
    file = tmp_path / "cleaned"
    argv = [sys.executable, "-c", GUARDED, str(file), then]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.kill()

    looking = Retrying(
        stop=stop_after_delay(10.0 if cleaned else 0.0),
        wait=wait_fixed(0.02),
        retry=retry_if_result(lambda found: not found),
        retry_error_callback=lambda _: False,
    )
    assert looking(file.exists) is cleaned


def test_zombie_counts_as_ended() -> None:
    """Catches: a namespace of a killed run that stays until the parent waits for its child."""
    child = subprocess.Popen(["/bin/sh", "-c", "exit"], stdin=subprocess.DEVNULL)
    machine = ourselves().rpartition("/")[0]
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_over(f"{machine}/{child.pid}", "2026-01-01T00:00:00Z")
        assert not is_over(ourselves(), "2026-01-01T00:00:00Z")
    finally:
        child.wait()
