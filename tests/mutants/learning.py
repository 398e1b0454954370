"""Keeping what runs teach: which check kills which mutant, and which mutant shows each check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.mutants.collected import by_name, matching
from tests.mutants.hints import Hints
from tests.mutants.judge import MATRIX, Trial
from tests.mutants.parallel import spread
from tests.mutants.runner import Verdict, matrix_row

_POINTS = MATRIX[:2]
"""One variant is enough to learn from; what shows on the other only, a run finds by itself."""


def keep(verdicts: Iterable[Verdict]) -> None:
    """Keep the killers of a run, and the costs of checks that a correct rule set passed."""
    hints = Hints.load()
    for verdict in verdicts:
        if not verdict.killable:
            hints.seconds.update(verdict.costs)
        elif verdict.killer is not None:
            hints.killers[verdict.mutant] = str(verdict.killer)
            hints.victims.setdefault(verdict.killer.check, verdict.mutant)
    hints.keep_only(matching(), [check.id for check in catalogue.load().checks])
    hints.save()


def compare_all(names: Sequence[str], jobs: int, timeout_s: float) -> None:
    """Run every check on each mutant, keep who kills whom, and print the checks that kill none."""
    hints = Hints.load()
    killed_by: dict[str, list[str]] = {}
    for name, trials in spread(partial(_row, timeout_s=timeout_s), names, jobs):
        kills = [trial for trial in trials if trial.outcome in (Outcome.FAIL, Outcome.WARN)]
        sys.stdout.write(f"{name}: {' '.join(sorted({t.check for t in kills})) or 'survives'}\n")
        sys.stdout.flush()
        if kills and by_name(name).killable:
            hints.killers[name] = str(min(kills, key=_preference))
            for trial in kills:
                killed_by.setdefault(trial.check, []).append(name)
    for check, mutants in killed_by.items():
        hints.victims[check] = min(mutants, key=lambda name: (len(name), name))
    hints.save()
    every = [check.id for check in catalogue.load().checks if check.level is not Level.INFO]
    sys.stdout.write(f"kill none: {' '.join(c for c in every if c not in killed_by)}\n")


def _row(name: str, timeout_s: float) -> tuple[str, list[Trial]]:
    return name, matrix_row(name, _POINTS, timeout_s)


def _preference(trial: Trial) -> tuple[bool, float]:
    """MUST before SHOULD, then the quickest."""
    return trial.outcome is Outcome.WARN, trial.seconds
