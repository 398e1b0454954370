"""Correct implementations that share no rule with the reference: no failure and no warning."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_fsmredir.suite import catalogue
from tests.neutral.judged import MODULES

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LIMIT_S = 900
NEEDED = {"sets": "ipset", "nftables": "nft"}

# The outcomes of today's FSM rules. Every check that is not listed here passes.
TODAY = {
    "OPX-005": "16 ports in one match are refused",
    "IPX-005": "the same inbound",
    "ALL-007": "the same with more than 100 ports in both lists",
    "OPX-007": "the same with 15 ports from either scope",
    "CFG-021": "the same with 32 ports of the mesh",
    "CFG-027": "the same where all lists are long",
    "CFG-015": "lists of the MeshConfig are not validated, and iptables takes port 0",
    "OIX-019": "the same: iptables reads a number with a leading zero as octal",
    "CFG-024": "the same where nothing else is looked at",
    "RES-003": "IPv6 is not programmed: the admin port is open",
    "RES-013": "an inbound exclusion of 15000 is honoured",
    "V6-001": "IPv6 is not programmed: outbound TCP leaks",
    "V6-002": "the same inbound",
}


def _judged(name: str) -> dict[str, list[str]]:
    # A new process: without root it must enter a user namespace, which needs a single thread.
    done = subprocess.run(
        [sys.executable, "-m", "tests.neutral.judged", name],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["per_port.sh", *MODULES])
def test_correct_implementation_passes(name: str) -> None:
    """Catches: a check that requires more than the specification, or one particular mechanism."""
    program = NEEDED.get(name)
    if program is not None and shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed: apt-get install {NEEDED[name]}")
    judged = _judged(name)
    assert (judged["fail"], judged["warn"], judged["error"]) == ([], [], [])
    assert len(judged["pass"]) > len(catalogue.load().checks)


@pytest.mark.parametrize("name", ["fsm_current.sh", "fsm_current.sh PodIP"])
def test_todays_fsm_has_only_its_known_defects(name: str) -> None:
    """Catches: a defect that the suite no longer finds, or one that FSM does not have."""
    judged = _judged(name)
    assert judged["error"] == []
    assert {line.partition("[")[0] for line in judged["fail"] + judged["warn"]} == set(TODAY)
