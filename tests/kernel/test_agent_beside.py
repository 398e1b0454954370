"""The sidecar's agent beside the application's, in one container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_fsmredir.model.reserved import SIDECAR_UID

pytestmark = pytest.mark.kernel

RUN = "import sys; from pytest_fsmredir.agent.__main__ import main; main(sys.argv[1:])"


def test_sidecar_beside_the_application_has_its_own_user() -> None:
    """Catches: flows of the sidecar that have the application's user or its capabilities."""
    argv = [sys.executable, "-c", RUN, "stdio", "app", "other"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(b'other\t["nothing", {}]\napp\t["nothing", {}]\n')
        agent.stdin.flush()
        said = sorted(agent.stdout.readline().partition(b"\t")[0] for _ in range(2))
        (beside,) = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        status = Path(f"/proc/{beside}/status").read_text()
        os.kill(int(beside), signal.SIGKILL)
        ended = agent.wait(30)

    assert said == [b"app", b"other"]
    assert "\nUid:" + f"\t{SIDECAR_UID}" * 4 + "\n" in status
    assert "\nCapEff:\t0000000000000000\n" in status
    assert ended == 1
