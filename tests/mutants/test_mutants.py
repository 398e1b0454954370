"""Run the suite against every mutant, by the command that a developer runs."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.collected import MUTANTS

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LIMIT_S = 600


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The result of each mutant, by name."""
    return _verdicts(tmp_path_factory.mktemp("mutants") / "verdicts.json")


@cache
def _verdicts(file: Path) -> dict[str, dict[str, Any]]:
    # A new process: without root it must enter a user namespace, which needs a single thread.
    command = [sys.executable, "-m", "tests.mutants", "--json", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if not file.exists():
        pytest.fail(f"the mutants could not be judged: {done.stdout}{done.stderr}")
    found: dict[str, dict[str, Any]] = json.loads(file.read_text())["mutants"]
    return found


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS if mutant.killable])
def test_mutant_is_killed(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    """Catches: a broken rule set that passes every check."""
    assert verdicts[name]["killer"], verdicts[name]["errors"]


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS if not mutant.killable])
def test_equivalent_is_not_killed(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    """Catches: a false alarm on a correct rule set."""
    assert verdicts[name]["killer"] is None, verdicts[name]["detail"]


def test_harness_decides_every_trial(verdicts: dict[str, dict[str, Any]]) -> None:
    """Catches: an error of the harness that counts as a result."""
    assert [error for verdict in verdicts.values() for error in verdict["errors"]] == []
