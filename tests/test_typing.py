"""``mypy --strict`` accepts users' typed tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "example" / "test_payments.py"
SAMPLE = """
from pytest_fsmredir import Acceptance, Address, Fate, Mesh, Pod


def first(fate: Fate) -> Acceptance:
    return fate.accepted


def test_source_is_the_pod(fsm_pod: Pod, fsm_mesh: Mesh) -> None:
    fate = fsm_pod.connect(fsm_mesh.server, 8080)
    assert fate.captured_outbound
    assert fate.accepted.peer.host == fsm_pod.address
    assert fate.accepted.destination == Address(fsm_mesh.server.address, 8080)
    assert fate.path[-1].by is first(fate).by
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [SAMPLE, EXAMPLE.read_text(encoding="utf-8")], ids=["sample", "docs"]
)
def test_strict_mypy_accepts_a_users_test(tmp_path: Path, source: str) -> None:
    """Catches: an Optional ``fate.accepted.peer`` that strict mypy rejects after a claim."""
    (tmp_path / "test_mine.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "test_mine.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
