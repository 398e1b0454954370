"""Trying the checks on one mutant until one kills it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from pytest_fsmredir import catalogue
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.outcomes import Outcome
from pytest_fsmredir.spec.checks import Check, Level
from tests.mutants.collected import by_name
from tests.mutants.hints import Hints
from tests.mutants.judge import MATRIX, VARIANTS, Judge, Point, Trial, new_backend
from tests.mutants.mutant import MutantImplementation

_KILLS = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN}


@dataclass
class Verdict:
    """What became of one mutant.

    Attributes:
        mutant: Its name.
        killable: Whether it has to be killed; one that is equivalent must not be.
        killer: The trial that told it from a correct implementation; None if none did.
        trials: How many were needed.
        errors: Trials that the harness could not decide: they count as nothing.
        seconds: How long all that took.
        costs: How long each check took that passed.
    """

    mutant: str
    killable: bool
    killer: Trial | None = None
    trials: int = 0
    errors: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def as_wanted(self) -> bool:
        """Killed if it is killable, left in peace if it is not."""
        return (self.killer is not None) is self.killable


def judge_mutant(name: str, hints: Hints, timeout_s: float) -> Verdict:
    """Run the checks on a mutant until one kills it.

    The hinted one comes first; then, on one variant of iptables and then on the other, all that
    MUST hold and all that SHOULD, the cheapest first.

    Args:
        name: The mutant's.
        hints: What to try first.
        timeout_s: When a flow counts as unanswered.
    """
    began = time.perf_counter()
    mutant = by_name(name)
    verdict = Verdict(name, mutant.killable)
    judge = _judge(MutantImplementation(mutant), timeout_s)
    for check, point in _order(judge, hints, hints.killers.get(name)):
        trial = judge.run(check, point)
        verdict.trials += 1
        if trial.outcome is Outcome.ERROR:
            verdict.errors.append(trial)
        elif trial.outcome is _KILLS[check.level]:
            verdict.killer = trial
            break
        elif trial.outcome is Outcome.PASS:
            verdict.costs[trial.check] = round(trial.seconds, 4)
    verdict.seconds = time.perf_counter() - began
    return verdict


def matrix_row(name: str, points: Sequence[Point], timeout_s: float) -> list[Trial]:
    """Run every check on a mutant, whatever the others say."""
    checks = [check for check in catalogue.load().checks if check.level in _KILLS]
    judge = _judge(MutantImplementation(by_name(name)), timeout_s)
    return list(judge.run_all(checks, points))


def _judge(mutant: MutantImplementation, timeout_s: float) -> Judge:
    backend = _backend(timeout_s)
    backend.judge_next(mutant)
    return Judge(mutant, backend, timeout_s)


@cache
def _backend(timeout_s: float) -> NetnsBackend:
    """Return the backend of this process, whose world and spare pods outlive a mutant."""
    return new_backend(MutantImplementation(by_name("same-unchanged")), timeout_s)


def _order(judge: Judge, hints: Hints, hint: str | None) -> Iterator[tuple[Check, Point]]:
    every = hints.cheapest_first(c for c in catalogue.load().checks if c.level in _KILLS)
    pairs = [
        (check, point)
        for iptables in VARIANTS
        for level in _KILLS
        for point in MATRIX
        for check in every
        if point.iptables == iptables and check.level is level and judge.applies(check, point)
    ]
    hinted = [pair for pair in pairs if f"{pair[0].id}[{pair[1]}]" == hint]
    yield from hinted
    yield from (pair for pair in pairs if pair not in hinted)
