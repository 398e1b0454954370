"""Run the checks on one mutant until one kills it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from zlib import crc32

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import Implementation
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.model.claims import PROVED
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.plugin.garbage import collect_rarely
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.judgement import EVERY_FLOW
from tests.mutants.collected import by_name, own_prefixes
from tests.mutants.hints import hint
from tests.mutants.judge import MATRIX, VARIANTS, Judge, Point, Trial, new_backend
from tests.mutants.loading import loads_correctly
from tests.mutants.mutant import Mutant, MutantImplementation

_DIFFER_BY_VARIANT = {Need.FOREIGN_RULES, Need.BOTH_VARIANTS, Need.SABOTAGE}

ORIGINAL = "same-unchanged"
_BRIEFLY = 0.25
"""Share of the timeout after which a flow of a killable mutant counts as unanswered.

Silence kills one such mutant in seven. The original passes every check with this share, too.
"""
_KILLS = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN}


@dataclass
class Verdict:
    """The result of one mutant.

    Attributes:
        mutant: Its name.
        killable: Whether the suite must kill it. It must not kill an equivalent mutant.
        killer: The trial that killed it; None if none did.
        trials: Number of trials.
        errors: Trials that the harness could not decide.
        unproved: What the checks of every flow say that they did not prove.
        seconds: Their total duration.
    """

    mutant: str
    killable: bool
    killer: Trial | None = None
    trials: int = 0
    errors: list[Trial] = field(default_factory=list)
    unproved: set[str] = field(default_factory=set)
    seconds: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Whether it is killed if killable, and not killed if equivalent."""
        return (self.killer is not None) is self.killable

    def count(self, trial: Trial, level: Level) -> None:
        """Count a trial of a check of that level."""
        self.trials += 1
        if trial.proof not in {"", PROVED}:
            self.unproved.add(trial.proof)
        if trial.outcome is Outcome.ERROR:
            self.errors.append(trial)
        elif trial.outcome is _KILLS[level]:
            self.killer = trial


def judge_mutant(name: str, timeout_s: float, *, full: bool, why: bool = False) -> Verdict:
    """Run the checks on a mutant until one kills it.

    The check that killed it last runs first, then those about the part that the mutant breaks, then
    the others. Checks of every flow run last, because each costs as much as twenty others.

    Args:
        name: The mutant's.
        timeout_s: Seconds after which a flow of an equivalent mutant counts as unanswered.
        full: Judge an equivalent mutant by every check on every point.
        why: Explain the failure, and find out whether that names the changed rule.
    """
    began = time.perf_counter()
    mutant = by_name(name)
    verdict = Verdict(name, mutant.killable)
    patience_s = timeout_s * _BRIEFLY if mutant.killable else timeout_s
    judge = judge_of(
        MutantImplementation(mutant), patience_s, privileged=mutant.privileged, why=why
    )
    for check, point in ordered(name):
        if not judge.applies(check, point):
            continue
        if full or mutant.killable or is_worth_a_trial(mutant, check, point):
            trial = judge.run(check, point, expects_failure=mutant.killable)
            verdict.count(trial, check.level)
            if verdict.killer is not None:
                break
    verdict.seconds = time.perf_counter() - began
    return verdict


def is_worth_a_trial(mutant: Mutant, check: Check, point: Point) -> bool:
    """Whether a check runs on a point to confirm that it passes an equivalent mutant.

    The original runs every check on every point. Each other equivalent mutant runs one check in
    four, on one of its families, in rotation, so that together they run all checks.

    The second variant of iptables uses the same connection tracking, translation and matches of
    the kernel. So only checks that disturb the programs or add foreign rules run on both variants.
    The others run on one, in rotation. If the mutant loads its rules like the original, that is the
    first one, but for checks that program a pod themselves and those of every flow, which need
    foreign programs only to read the rules.
    """
    if mutant.name == ORIGINAL:
        return True
    draw = crc32(f"{mutant.name} {check.id}".encode())
    if draw % 4 or point.family != check.families[(draw >> 2) % len(check.families)]:
        return False
    every_flow = check.id.startswith(EVERY_FLOW)
    if check.needs & _DIFFER_BY_VARIANT and not every_flow:
        return True
    alike = loads_correctly(mutant.load) and Need.PROGRAMMING not in check.needs
    turn = 0 if alike and not every_flow else draw >> 3
    return point.iptables == VARIANTS[turn % len(VARIANTS)]


def judge_by_every_flow(name: str, timeout_s: float) -> Verdict:
    """Run the checks of every flow alone on a mutant, until one kills it."""
    began = time.perf_counter()
    mutant = by_name(name)
    verdict = Verdict(name, mutant.killable)
    judge = judge_of(MutantImplementation(mutant), timeout_s, privileged=mutant.privileged)
    checks = [check for check in catalogue.load().checks if check.id.startswith(EVERY_FLOW)]
    for point in MATRIX[:2]:
        for check in checks:
            if verdict.killer is None and judge.applies(check, point):
                verdict.count(judge.run(check, point), check.level)
    verdict.seconds = time.perf_counter() - began
    return verdict


def matrix_row(name: str, points: Sequence[Point], timeout_s: float) -> list[Trial]:
    """Run every check on a mutant."""
    checks = [check for check in catalogue.load().checks if check.level in _KILLS]
    mutant = by_name(name)
    judge = judge_of(MutantImplementation(mutant), timeout_s, privileged=mutant.privileged)
    return list(judge.run_all(checks, points))


def judge_of(
    implementation: Implementation,
    timeout_s: float,
    *,
    privileged: bool = False,
    why: bool = False,
    original: str = ORIGINAL,
) -> Judge:
    """Return a judge of an implementation, with the hosts and spare pods of this process."""
    backend = _backend(timeout_s)
    learnt = backend.memory
    backend.judge_next(implementation, privileged=privileged)
    # What the kernel confirmed of the text of a rule holds for every mutant that loads it.
    backend.memory = learnt
    explaining = MutantImplementation(by_name(original)) if why else None
    return Judge(implementation, backend, timeout_s, explaining)


@cache
def _backend(timeout_s: float) -> NetnsBackend:
    """Return the backend of this process. Its hosts and spare pods serve many mutants."""
    collect_rarely()  # never the catalogue, which stays
    return new_backend(MutantImplementation(by_name(ORIGINAL)), timeout_s)


def ordered(name: str) -> Iterator[tuple[Check, Point]]:
    """Yield the check that killed it last, then those about the broken part, then the others."""
    prefixes = own_prefixes(name)
    checks = [check for check in catalogue.load().checks if check.level in _KILLS]
    own = [check for prefix in prefixes for check in checks if _prefix(check) == prefix]
    others = [check for check in checks if _prefix(check) not in prefixes]
    plain = [check for check in others if not check.id.startswith(EVERY_FLOW)]
    dear = [check for check in others if check.id.startswith(EVERY_FLOW)]
    known = hint(name)
    first = [(check, known[1]) for check in checks if known and check.id == known[0]]
    yield from first
    for group in (own, plain, dear):
        for point in MATRIX:
            yield from (trial for check in group if (trial := (check, point)) not in first)


def _prefix(check: Check) -> str:
    return check.id.partition("-")[0]
