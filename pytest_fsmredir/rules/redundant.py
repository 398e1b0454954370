"""Find the rules whose removal changes the fate of no packet, with the model as the proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked, EndKind, Ends
from pytest_fsmredir.rules.forms import (
    Alter,
    Chain,
    Copy,
    Field,
    Opaque,
    Rule,
    Unknown,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.hygiene import Start, starts
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.walk import Walk

_LASTING = (Untrack, Alter, Opaque)


class _Passed(NamedTuple):
    """Packets that passed all rules, their fates, and the rules that they match."""

    start: Start
    ends: Ends
    hits: dict[tuple[int, int], int]


def redundant_rules(
    rules: RuleSet, family: int, surroundings: Surroundings
) -> list[tuple[Chain, Rule]]:
    """Return the rules that can be left out, each one alone, in order.

    For each of them, every packet that it matches meets the same fate without it: packets of every
    protocol, state and direction. Rules that no packet matches are not returned, and neither are
    rules whose effect lasts beyond the packet, such as a mark of the connection, or is not
    understood.

    Raises:
        TooComplexError: The rules exceed the limits of the analysis.
    """
    space = Space(family, surroundings.interfaces(rules), surroundings.local(family))
    model = Model(rules, space, surroundings)
    every = [_passed(model, start) for start in starts(space)]
    found = []
    for chain in rules.chains.values():
        if family in chain.families:
            for rule in _judged(chain):
                without = _without(model, chain, rule.number)
                if _matters_not(without, every, (id(chain), rule.number)):
                    found.append((chain, rule))
    return found


def _judged(chain: Chain) -> Iterator[Rule]:
    """Yield one rule for each number, if all rules of that number can be judged."""
    numbers: dict[int, list[Rule]] = {}
    for rule in chain.rules:
        numbers.setdefault(rule.number, []).append(rule)
    for same in numbers.values():
        if any(rule.actions for rule in same) and not any(map(_lasts, same)):
            yield same[0]


def _lasts(rule: Rule) -> bool:
    unknown = any(isinstance(p, Unknown) for c in rule.conditions for p in parts(c.test))
    lasting = any(isinstance(action, _LASTING) for action in rule.actions)
    written = {
        action.field if isinstance(action, Write) else action.target
        for action in rule.actions
        if isinstance(action, (Write, Copy))
    }
    return unknown or lasting or Field.CONNECTION_MARK in written


def _passed(model: Model, start: Start) -> _Passed:
    hits: dict[tuple[int, int], int] = {}

    def note(asked: Asked) -> None:
        key = (id(asked.chain), asked.rule.number)
        hits[key] = model.space.bdd.either(hits.get(key, NONE), asked.hit)

    ends = Walk(model, start.at, observer=note).send(start.direction, start.packets)
    return _Passed(start, _by_fate(model, ends), hits)


def _without(model: Model, chain: Chain, number: int) -> Model:
    kept = [rule for rule in chain.rules if rule.number != number]
    key = (chain.origin, chain.table, chain.name)
    reduced = replace(chain, rules=kept)
    rules = replace(model.rules, chains={**model.rules.chains, key: reduced})
    made = Model(rules, model.space, model.surroundings)
    made.batches.adopt(model.batches)  # the reduced chain is another object
    return made


def _matters_not(without: Model, every: Sequence[_Passed], key: tuple[int, int]) -> bool:
    """Whether the packets that match a rule meet the same fates without it."""
    bdd, matched = without.space.bdd, False
    for start, known, hits in every:
        hit = hits.get(key, NONE)
        if hit == NONE:
            continue
        matched = True
        if _differs(without, start, known, hit):
            return False
        ends = _by_fate(without, Walk(without, start.at).send(start.direction, hit))
        if any(bdd.minus(some, known.get(end, NONE)) != NONE for end, some in ends.items()):
            return False
    return matched


def _differs(without: Model, start: Start, known: Ends, hit: int) -> bool:
    """Whether an example of the packets that a rule matches meets another fate without it.

    One packet costs less than all of them, and almost every rule decides its example.
    """
    space = without.space
    example = space.bdd.example(hit)
    at = {
        name: tuple(ALL if space.bdd.holds_in(bit, example) else NONE for bit in bits)
        for name, bits in start.at.items()
    }
    ends = _by_fate(without, Walk(without, at).send(start.direction, ALL))
    return len(ends) == 1 and not any(
        space.bdd.holds_in(known.get(end, NONE), example) for end in ends
    )


def _by_fate(model: Model, ends: Ends) -> Ends:
    """Join fates that differ only in words."""
    found: Ends = {}
    for end, some in ends.items():
        kept = end if end.kind in {EndKind.CHANGED, EndKind.OPAQUE} else end._replace(detail="")
        found[kept] = model.space.bdd.either(found.get(kept, NONE), some)
    return found
