"""Trying the checks on one mutant until one kills it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from pytest_fsmredir import catalogue
from pytest_fsmredir.backends.base import Need
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.outcomes import Outcome
from pytest_fsmredir.spec.checks import Check, Level
from tests.mutants.changes import unchanged
from tests.mutants.collected import by_name
from tests.mutants.hints import Hints
from tests.mutants.judge import MATRIX, VARIANTS, Judge, Point, Trial, new_backend
from tests.mutants.loading import install
from tests.mutants.mutant import Mutant, MutantImplementation, same_text

_DIFFER_BY_VARIANT = {Need.PROGRAMMING, Need.FOREIGN_RULES, Need.BOTH_VARIANTS, Need.SABOTAGE}
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


def judge_mutant(name: str, hints: Hints, timeout_s: float, *, full: bool) -> Verdict:
    """Run the checks on a mutant until one kills it.

    The hinted one comes first; then, on one variant of iptables and then on the other, all that
    MUST hold and all that SHOULD, the cheapest first.

    Args:
        name: The mutant's.
        hints: What to try first.
        timeout_s: When a flow counts as unanswered.
        full: Run on the second variant also what can tell nothing new there.
    """
    began = time.perf_counter()
    mutant = by_name(name)
    verdict = Verdict(name, mutant.killable)
    judge = _judge(MutantImplementation(mutant), timeout_s)
    for check, point in _order(judge, hints, hints.killers.get(name)):
        if not (full or mutant.killable or _tells_something_new(mutant, check, point)):
            continue
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


def _tells_something_new(mutant: Mutant, check: Check, point: Point) -> bool:
    """Whether a check could raise a false alarm on a point that it cannot raise on the first.

    Of correct rules a check sees what becomes of packets, how the programs end that load them, and
    what becomes of others' rules. The last two differ between the variants of iptables. Packets
    meet the same connection tracking, translation and matches of the kernel, whichever wrote the
    rules; so those checks say on the second variant what they said on the first, where the mutant
    changes no more than the rules. The correct rules themselves are judged on both.
    """
    changes_rules_alone = mutant.load is install and mutant.text is same_text
    same_rules = mutant.rules is unchanged
    return (
        point.iptables == VARIANTS[0]
        or same_rules
        or not changes_rules_alone
        or bool(check.needs & _DIFFER_BY_VARIANT)
    )


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
    gc.freeze()  # the catalogue stays; collections need not look through it each time
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
