"""Which checks an equivalent mutant runs."""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.pod_parts import Memory
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.judgement import EVERY_FLOW
from tests.mutants import runner
from tests.mutants.collected import MUTANTS, by_name
from tests.mutants.judge import MATRIX, VARIANTS
from tests.mutants.loading import loads_correctly
from tests.mutants.mutant import MutantImplementation
from tests.mutants.runner import ORIGINAL, is_worth_a_trial, judge_of

_CHECKS = [check for check in catalogue.load().checks if check.level is not Level.INFO]
_USUAL = [
    mutant
    for mutant in MUTANTS
    if not mutant.killable and mutant.name != ORIGINAL and loads_correctly(mutant.load)
]
"""Equivalent mutants that load their rules like the original."""


def test_equivalents_together_run_every_check() -> None:
    """Catches: a draw that leaves out a check, one of its families, or the second variant."""
    ran = {
        (check.id, point)
        for mutant in _USUAL
        for check in _CHECKS
        for point in MATRIX
        if is_worth_a_trial(mutant, check, point)
    }
    families = {(check.id, family) for check in _CHECKS for family in check.families}
    assert families == {(id_, point.family) for id_, point in ran}
    both = {
        check.id
        for check in _CHECKS
        if check.id.startswith(EVERY_FLOW)
        or check.needs & {Need.PROGRAMMING, Need.FOREIGN_RULES, Need.SABOTAGE}
    }
    assert {(id_, variant) for id_ in both for variant in VARIANTS} <= {
        (id_, point.iptables) for id_, point in ran
    }


def test_check_of_every_flow_runs_on_one_point() -> None:
    """Catches: a run in which these checks take most of the time, because of two variants."""
    every_flow = [check for check in _CHECKS if check.id.startswith(EVERY_FLOW)]
    for mutant in _USUAL:
        for check in every_flow:
            assert sum(is_worth_a_trial(mutant, check, point) for point in MATRIX) <= 1


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
