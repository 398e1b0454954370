"""Trying the checks on one mutant until one kills it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from zlib import crc32

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import Implementation
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.mutants.collected import by_name
from tests.mutants.conversations import Conversations, Listener, load, save, says_the_same
from tests.mutants.hints import Hints
from tests.mutants.judge import MATRIX, VARIANTS, Judge, Point, Trial, new_backend
from tests.mutants.loading import loads_as_ever
from tests.mutants.mutant import Mutant, MutantImplementation

_DIFFER_BY_VARIANT = {Need.PROGRAMMING, Need.FOREIGN_RULES, Need.BOTH_VARIANTS, Need.SABOTAGE}
_Pairs = Iterable[tuple[Check, Point]]

ORIGINAL = "same-unchanged"
_KILLS = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN}


@dataclass
class Verdict:
    """What became of one mutant.

    Attributes:
        mutant: Its name.
        killable: Whether it has to be killed; one that is equivalent must not be.
        killer: The trial that told it from a correct implementation; None if none did.
        trials: How many were run.
        spared: How many were not, because nothing in them differs from the original.
        errors: Trials that the harness could not decide: they count as nothing.
        seconds: How long all that took.
        costs: How long each check took that passed.
    """

    mutant: str
    killable: bool
    killer: Trial | None = None
    trials: int = 0
    spared: int = 0
    errors: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def as_wanted(self) -> bool:
        """Killed if it is killable, left in peace if it is not."""
        return (self.killer is not None) is self.killable

    def count(self, trial: Trial, level: Level) -> None:
        """Take note of a trial of a check of that level."""
        self.trials += 1
        if trial.outcome is Outcome.ERROR:
            self.errors.append(trial)
        elif trial.outcome is _KILLS[level]:
            self.killer = trial
        elif trial.outcome is Outcome.PASS:
            self.costs[trial.check] = round(trial.seconds, 4)


def judge_mutant(
    name: str, hints: Hints, timeout_s: float, *, full: bool, heard: Path | None = None
) -> Verdict:
    """Run the checks on a mutant until one kills it.

    The hinted one comes first; then, on one variant of iptables and then on the other, all that
    MUST hold and all that SHOULD, the cheapest first.

    Args:
        name: The mutant's.
        hints: What to try first.
        timeout_s: When a flow counts as unanswered.
        full: Run every check on every point.
        heard: Where the original leaves its conversations, so that equivalent mutants are spared
            the trials in which they would have the same.
    """
    began = time.perf_counter()
    mutant = by_name(name)
    verdict = Verdict(name, mutant.killable)
    judge = _judge(MutantImplementation(mutant), timeout_s)
    pairs: _Pairs = _order(judge, hints, hints.killers.get(name))
    if not (full or mutant.killable):
        pairs = (pair for pair in pairs if _is_worth_a_trial(mutant, *pair))
    if heard is None or mutant.killable:
        _try(verdict, judge, pairs)
    elif name == ORIGINAL:
        save(_listen(verdict, mutant, pairs, timeout_s), heard)
    else:
        _try(verdict, judge, _unheard(verdict, mutant, pairs, load(heard)))
    verdict.seconds = time.perf_counter() - began
    return verdict


def _try(verdict: Verdict, judge: Judge, pairs: _Pairs) -> None:
    for check, point in pairs:
        verdict.count(judge.run(check, point), check.level)
        if verdict.killer is not None:
            break


def _listen(verdict: Verdict, mutant: Mutant, pairs: _Pairs, timeout_s: float) -> Conversations:
    """Run the trials, and return the conversations in the pods of each."""
    listener = Listener(MutantImplementation(mutant))
    judge = _judge(listener, timeout_s)
    heard: Conversations = {}
    for check, point in pairs:
        _backend(timeout_s).programs_started.clear()  # to count them is part of the trial
        trial = judge.run(check, point)
        verdict.count(trial, check.level)
        said = listener.since(judge.pods)
        if trial.outcome is Outcome.PASS:
            heard[_name(check, point)] = said
    return heard


def _unheard(
    verdict: Verdict, mutant: Mutant, pairs: _Pairs, heard: Conversations
) -> Iterator[tuple[Check, Point]]:
    """Yield the trials in which a mutant says anything new, and count the others."""
    for check, point in pairs:
        known = heard.get(_name(check, point))
        if known is not None and says_the_same(mutant, known):
            verdict.spared += 1
        else:
            yield check, point


def _is_worth_a_trial(mutant: Mutant, check: Check, point: Point) -> bool:
    """Whether a check is run on a point to see that an equivalent mutant is left in peace.

    Every check is, on one point at least; the original itself is judged on all of them.

    Of correct rules a check sees what becomes of packets, how the programs end that load them, and
    what becomes of others' rules. The last two differ between the variants of iptables. Packets
    meet the same connection tracking, translation and matches of the kernel, whichever wrote the
    rules; so those checks say on the second variant what they said on the first, where the mutant
    loads its rules as the original does.

    Between the families, the rules of an equivalent mutant differ in nothing but the notation of
    addresses. So each check is run on one of its families, by turns: over all the mutants every
    check is run on both.
    """
    if mutant.name == ORIGINAL:
        return True
    turn = crc32(f"{mutant.name} {check.id}".encode()) % len(check.families)
    return point.family == check.families[turn] and (
        point.iptables == VARIANTS[0]
        or not loads_as_ever(mutant.load)
        or bool(check.needs & _DIFFER_BY_VARIANT)
    )


def matrix_row(name: str, points: Sequence[Point], timeout_s: float) -> list[Trial]:
    """Run every check on a mutant, whatever the others say."""
    checks = [check for check in catalogue.load().checks if check.level in _KILLS]
    judge = _judge(MutantImplementation(by_name(name)), timeout_s)
    return list(judge.run_all(checks, points))


def _judge(implementation: Implementation, timeout_s: float) -> Judge:
    backend = _backend(timeout_s)
    backend.judge_next(implementation)
    return Judge(implementation, backend, timeout_s)


@cache
def _backend(timeout_s: float) -> NetnsBackend:
    """Return the backend of this process, whose world and spare pods outlive a mutant."""
    gc.freeze()  # the catalogue stays; collections need not look through it each time
    return new_backend(MutantImplementation(by_name(ORIGINAL)), timeout_s)


def _order(judge: Judge, hints: Hints, hint: str | None) -> Iterator[tuple[Check, Point]]:
    checks = [check for check in catalogue.load().checks if check.level in _KILLS]
    hinted = [
        (check, point)
        for check in checks
        if hint is not None and hint.startswith(check.id)
        for point in MATRIX
        if _name(check, point) == hint and judge.applies(check, point)
    ]
    yield from hinted
    every = hints.cheapest_first(checks)
    for iptables in VARIANTS:
        for level in _KILLS:
            for point in MATRIX:
                if point.iptables == iptables:
                    yield from (
                        (check, point)
                        for check in every
                        if check.level is level
                        and judge.applies(check, point)
                        and (check, point) not in hinted
                    )


def _name(check: Check, point: Point) -> str:
    """Return the name of a trial."""
    return f"{check.id}[{point}]"
