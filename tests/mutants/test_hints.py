"""The order in which the checks run on a mutant."""

from __future__ import annotations

import pytest

from tests.mutants import hints
from tests.mutants.collected import MUTANTS
from tests.mutants.judge import Point
from tests.mutants.runner import ordered

WITHOUT_NOTE_AT_MOST = 50
"""A mutant without a note costs as much as twenty others, or as hundreds."""

NAME = next(mutant.name for mutant in MUTANTS if mutant.killable)


def test_hinted_check_runs_first_and_no_other_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a hint without effect, or one that makes a check run twice or not at all."""
    monkeypatch.setattr(hints, "killers", dict)
    plain = [(check.id, point) for check, point in ordered(NAME)]
    monkeypatch.setattr(hints, "killers", lambda: {NAME: "ALL-001[legacy-v6]"})
    hinted = [(check.id, point) for check, point in ordered(NAME)]
    assert hinted[0] == ("ALL-001", Point("legacy", 6)) != plain[0]
    assert sorted(hinted) == sorted(plain)


def test_hint_that_names_no_check_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: mutants that cannot be judged after a check was renamed."""
    monkeypatch.setattr(hints, "killers", dict)
    plain = list(ordered(NAME))
    monkeypatch.setattr(hints, "killers", lambda: {NAME: "GONE-001[nft-v4]"})
    assert list(ordered(NAME)) == plain


def test_nearly_every_mutant_has_a_note() -> None:
    """Catches: notes that age while mutants are added, so that a run takes three times as long."""
    noted = hints.killers()
    lacking = [mutant.name for mutant in MUTANTS if mutant.killable and mutant.name not in noted]
    assert len(lacking) <= WITHOUT_NOTE_AT_MOST, (
        f"run: python -m tests.mutants --remember {' '.join(lacking)}"
    )
