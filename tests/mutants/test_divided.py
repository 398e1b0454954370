"""Proofs over ranges of numbers find exactly what proofs over single numbers find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from pytest_fsmredir.implementations.base import Refused
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.probing.sendable import asked, taste
from pytest_fsmredir.rules import prove
from pytest_fsmredir.rules.errors import RulesError, UndividedError
from pytest_fsmredir.rules.packet import unseen
from pytest_fsmredir.rules.partition import Spans
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.space import Space
from tests.mutants.collected import MUTANTS
from tests.mutants.correct import Case
from tests.mutants.mutant import Mutant

pytestmark = pytest.mark.slow

SAMPLE = MUTANTS[::25]
LISTS = Configuration(
    {
        "flomesh.io/outbound-ip-range-exclusion-list": "10.9.0.0/16,52.31.1.7/32,2620:7:9::/48",
        "flomesh.io/outbound-port-exclusion-list": "5432,6379",
        "flomesh.io/inbound-port-exclusion-list": "9090",
    }
)
OWN = {4: "10.2.0.9", 6: "fd00:2::9"}


def undivided(
    rules: RuleSet,
    family: int,
    surroundings: Surroundings,
    interfaces: Sequence[str],
    _asked: Iterable[Spans] = (),
) -> Space:
    """Represent every number by its own bits."""
    return Space(family, interfaces, surroundings.local(family), unseen(rules))


def found(rules: RuleSet, family: int) -> Iterator[Finding]:
    """Prove rules with everything that a search asks."""
    pod = Surroundings({"eth0": (OWN[family],)}, closed=True)
    top = 65535
    client = "10.2.0.1" if family == 4 else "fd00:2::1"
    further = asked(family, client, top, None)
    prover = Prover(rules, LISTS.policy(), family, pod, taste(family, top, None), further)
    for direction in Direction:
        proof = prover.prove(direction)
        yield from (*proof.findings, *proof.doubts)


def words(each: Finding) -> tuple[object, ...]:
    """Return everything that a user sees of a finding."""
    decider = each.decider.rule.text if each.decider else ""
    following = str(each.following.packet) if each.following else ""
    return each.duty, each.end, str(each.packet), decider, each.depends, following


def both(mutant: Mutant, family: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Yield the findings about a mutant's rules over single numbers, then over ranges."""
    case = Case(LISTS.policy(), family, (OWN[family],))
    rules = read_text(mutant.rules_for(case).creation, family)
    with monkeypatch.context() as patched:
        patched.setattr(prove, "divided_space", undivided)
        yield sorted(map(words, found(rules, family)), key=str)
    yield sorted(map(words, found(rules, family)), key=str)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_ranges_find_what_numbers_find(
    mutant: Mutant, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: two numbers in one range that a rule or a sentence tells apart."""
    try:
        numbers, ranges = both(mutant, family, monkeypatch)
    except UndividedError:
        raise
    except (Refused, RulesError):  # not rules that a pod can have, or that the model reads
        return
    assert ranges == numbers
