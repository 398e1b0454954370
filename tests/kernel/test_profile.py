"""The command that prints where the time of a run goes; it names functions of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.phases import PHASES

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

ROOT = Path(__file__).parents[2]


def test_profile_names_each_phase_and_the_dearest_checks() -> None:
    """Catches: a function that has moved, so that the command ends with an AttributeError."""
    argv = [sys.executable, "-m", "benchmarks", "profile", "--fsm-ip=4", "-k", "ALL-001"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    words = [line.split(maxsplit=1)[0] for line in done.stdout.splitlines() if line.strip()]
    assert set(PHASES) <= set(words)
    assert "ALL-001" in words
