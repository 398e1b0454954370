"""Judge mutants by the checks of every flow alone, and list those that they do not find."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from tests.mutants.collected import by_name
from tests.mutants.parallel import spread
from tests.mutants.runner import judge_by_every_flow


def print_found(names: Sequence[str], jobs: int, timeout_s: float) -> None:
    """Judge the killable mutants. Print those that no check ALL-* kills, and the share found."""
    killable = [name for name in names if by_name(name).killable]
    found = 0
    for verdict in spread(partial(judge_by_every_flow, timeout_s=timeout_s), killable, jobs):
        if verdict.killer is not None:
            found += 1
            continue
        sys.stdout.write(f"{verdict.mutant}: {by_name(verdict.mutant).what}\n")
        for trial in verdict.errors[:1]:
            sys.stdout.write(f"    not decided: {trial}: {trial.detail}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{found} of {len(killable)} mutants found by ALL-* alone\n")
