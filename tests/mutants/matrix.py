"""Run every check on every mutant: show which checks kill which mutants, and which kill none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.mutants.collected import by_name
from tests.mutants.judge import MATRIX, Trial
from tests.mutants.parallel import spread
from tests.mutants.runner import matrix_row

_POINTS = MATRIX[:2]
"""One iptables variant."""


def print_matrix(names: Sequence[str], jobs: int, timeout_s: float) -> None:
    """Run every check on each mutant. Print the killers of each, and the checks without kills."""
    killers: set[str] = set()
    for name, trials in spread(partial(_row, timeout_s=timeout_s), names, jobs):
        kills = {t.check for t in trials if t.outcome in (Outcome.FAIL, Outcome.WARN)}
        sys.stdout.write(f"{name}: {' '.join(sorted(kills)) or 'survives'}\n")
        sys.stdout.flush()
        if by_name(name).killable:
            killers |= kills
    every = [check.id for check in catalogue.load().checks if check.level is not Level.INFO]
    sys.stdout.write(f"kill none: {' '.join(c for c in every if c not in killers)}\n")


def _row(name: str, timeout_s: float) -> tuple[str, list[Trial]]:
    return name, matrix_row(name, _POINTS, timeout_s)
