"""Running every check on every mutant, to learn which kills which."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pytest_fsmredir import catalogue
from pytest_fsmredir.outcomes import Outcome
from pytest_fsmredir.spec.checks import Level
from tests.mutants.catalogue import by_name
from tests.mutants.hints import Hints
from tests.mutants.judge import MATRIX, Trial
from tests.mutants.parallel import spread
from tests.mutants.runner import matrix_row

_POINTS = MATRIX[:2]
"""One variant is enough to learn from; what shows on the other only is found by the run itself."""


def learn(names: Sequence[str], jobs: int, file: Path | None = None) -> None:
    """Update the hints from some mutants, and print the checks that kill none of them."""
    hints = Hints.load()
    killed_by: dict[str, list[str]] = {}
    for name, trials in spread(partial(_row), names, jobs):
        kills = [trial for trial in trials if trial.outcome in (Outcome.FAIL, Outcome.WARN)]
        sys.stdout.write(f"{name}: {' '.join(sorted({t.check for t in kills})) or 'survives'}\n")
        sys.stdout.flush()
        if not by_name(name).killable:
            hints.seconds.update(_costs(trials))
        elif kills:
            hints.killers[name] = str(min(kills, key=_preference))
            for trial in kills:
                killed_by.setdefault(trial.check, []).append(name)
    for check, mutants in killed_by.items():
        hints.victims[check] = min(mutants, key=lambda name: (len(name), name))
    hints.save()
    if file is not None:
        file.write_text(json.dumps(killed_by, indent=1))
    idle = [c.id for c in catalogue.load().checks if c.level is not Level.INFO]
    sys.stdout.write(f"kill none: {' '.join(c for c in idle if c not in killed_by)}\n")


def _row(name: str) -> tuple[str, list[Trial]]:
    return name, matrix_row(name, _POINTS)


def _preference(trial: Trial) -> tuple[bool, float]:
    """MUST before SHOULD, then the quickest."""
    return trial.outcome is Outcome.WARN, trial.seconds


def _costs(trials: Sequence[Trial]) -> dict[str, float]:
    return {trial.check: round(trial.seconds, 4) for trial in trials}
