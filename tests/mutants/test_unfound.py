"""The mutants that the checks of every flow do not have to find: the marks are current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.collected import MUTANTS
from tests.mutants.unfound import KINDS, kind_of

ROOT = Path(__file__).parents[2]
KILLABLE = {mutant.name for mutant in MUTANTS if mutant.killable}


def test_marks_name_mutants() -> None:
    """Catches: a mark of a mutant that is gone, or that must not be killed, and an empty kind."""
    assert {name for kind in KINDS for name in kind.mutants} <= KILLABLE
    assert all(kind.mutants for kind in KINDS)


def test_most_mutants_have_to_be_found() -> None:
    """Catches: marks that excuse what the checks have to find."""
    assert sum(kind_of(name) is None for name in KILLABLE) > 750


@pytest.mark.kernel
@pytest.mark.slow
def test_marks_are_current() -> None:
    """Catches: an unmarked mutant that no check of every flow finds, and a marked one that is."""
    sample = ["--sample", "40", "--seed", "marks", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--all-checks-only", *sample],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
