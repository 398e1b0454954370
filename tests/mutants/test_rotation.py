"""Which checks an equivalent mutant runs."""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.pod_parts import Memory
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.judgement import EVERY_FLOW
from tests.mutants import runner
from tests.mutants.collected import MUTANTS, by_name
from tests.mutants.judge import MATRIX, VARIANTS, Point
from tests.mutants.loading import loads_correctly
from tests.mutants.mutant import Mutant, MutantImplementation
from tests.mutants.runner import ORIGINAL, is_worth_a_trial, judge_of

_CHECKS = [check for check in catalogue.load().checks if check.level is not Level.INFO]
_CHANGED = [mutant for mutant in MUTANTS if not mutant.killable and mutant.name != ORIGINAL]
"""The equivalent mutants but the original."""
_DISTURBING = {Need.FOREIGN_RULES, Need.BOTH_VARIANTS, Need.SABOTAGE}


def _points(mutant: Mutant, check: Check) -> list[Point]:
    return [point for point in MATRIX if is_worth_a_trial(mutant, check, point)]


def test_equivalents_together_run_every_check() -> None:
    """Catches: a draw that leaves out a check, one of its families, or the second variant."""
    ran = {
        (check, point)
        for mutant in _CHANGED
        if loads_correctly(mutant.load)
        for check in _CHECKS
        for point in _points(mutant, check)
    }
    families = {(check.id, family) for check in _CHECKS for family in check.families}
    assert families == {(check.id, point.family) for check, point in ran}
    by_variant = [c.id for c in _CHECKS if c.needs & {Need.PROGRAMMING, Need.FOREIGN_RULES}]
    assert {(id_, variant) for id_ in by_variant for variant in VARIANTS} <= {
        (check.id, point.iptables) for check, point in ran
    }


def test_mutant_that_loads_otherwise_is_judged_on_both_variants() -> None:
    """Catches: a false alarm that only the programs of the second variant show."""
    for mutant in _CHANGED:
        if not loads_correctly(mutant.load):
            plain = [check for check in _CHECKS if not check.needs & _DISTURBING]
            points = {point for check in plain for point in _points(mutant, check)}
            assert points == set(MATRIX)


def test_only_checks_that_disturb_programs_run_on_both_variants() -> None:
    """Catches: a run that takes twice as long, because most checks run on both variants."""
    for mutant in _CHANGED:
        for check in _CHECKS:
            disturbs = check.needs & _DISTURBING and not check.id.startswith(EVERY_FLOW)
            assert len(_points(mutant, check)) in ({0, 2} if disturbs else {0, 1})


def test_mutants_share_what_the_kernel_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: rules that packets validate again for each mutant that has them."""

    class Backend:
        memory = Memory()

        def judge_next(self, implementation: object, *, privileged: bool) -> None:
            del implementation, privileged
            self.memory = Memory()

    backend = Backend()
    learnt = backend.memory
    monkeypatch.setattr(runner, "_backend", lambda _timeout_s: backend)
    judge_of(MutantImplementation(by_name(ORIGINAL)), 1.0)
    assert backend.memory is learnt


def test_silence_of_a_killable_mutant_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a run that mostly waits, or an equivalent mutant that a late answer kills."""

    class Known(Exception):
        pass

    def judge_of(_: object, timeout_s: float, **_more: object) -> None:
        raise Known(timeout_s)

    monkeypatch.setattr(runner, "judge_of", judge_of)
    killable = next(mutant.name for mutant in MUTANTS if mutant.killable)
    with pytest.raises(Known, match=r"^0\.25$"):
        runner.judge_mutant(killable, 1.0, full=False)
    with pytest.raises(Known, match=r"^1\.0$"):
        runner.judge_mutant(ORIGINAL, 1.0, full=False)
