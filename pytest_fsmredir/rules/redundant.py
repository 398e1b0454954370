"""Find the rules whose removal changes the fate of no packet, with the model as the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import EndKind, Ends
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
from pytest_fsmredir.rules.goals import Way
from pytest_fsmredir.rules.hygiene import AllPackets, Passed, Start
from pytest_fsmredir.rules.packet import environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.ruleset import parts
from pytest_fsmredir.rules.seek import Seeker
from pytest_fsmredir.rules.vocabulary import NEW
from pytest_fsmredir.rules.walk import Walk

_LASTING = (Untrack, Alter, Opaque)


def redundant_rules(
    packets: AllPackets, needed: Callable[[Chain, Rule], bool] = lambda *_: False
) -> list[tuple[Chain, Rule]]:
    """Return the rules that can be left out, each one alone, in order.

    For each of them, every packet that it matches meets the same fate without it: packets of every
    protocol, state and direction. Rules that no packet matches are not returned, and neither are
    rules whose effect lasts beyond the packet, such as a mark of the connection, or is not
    understood.

    Args:
        packets: All packets, after they passed the rules.
        needed: Tells the rules that are known to decide a packet's fate, and need no proof.

    Raises:
        TooComplexError: The rules exceed the limits of the analysis.
    """
    model = packets.model
    every = [_Matching.of(model, passed) for passed in packets.every]
    found = []
    for chain in model.rules.chains.values():
        if model.space.family in chain.families:
            for rule in _judged(chain):
                if needed(chain, rule):
                    continue
                without = _without(model, chain, rule.number)
                if _matters_not(without, every, (id(chain), rule.number)):
                    found.append((chain, rule))
    return found


class Deciding:
    """Tells whether rules decide the fate of packets."""

    def __init__(self, seeker: Seeker) -> None:
        self._seeker = seeker
        self._known: dict[Direction, Ends] = {}

    def decides(self, chain: Chain, rule: Rule, way: Way, matching: int) -> bool:
        """Whether some packets that match a rule meet another fate without it.

        Args:
            chain: The chain that contains the rule.
            rule: The rule.
            way: The direction and the state of the packets.
            matching: The packets, which all match the rule.
        """
        seeker, (direction, state) = self._seeker, way
        without = _without(seeker.model, chain, rule.number)
        if state == NEW:
            start = Start(direction, environment(seeker.space, direction, {}), matching)
            known = self._fates(direction)
            return _differs(without, start, known, matching) or _changes(without, start, known)
        packet = seeker.example(direction, matching, state)
        at = environment(seeker.space, direction, packet.fields(seeker.space), state)
        fates = [
            _by_fate(each, Walk(each, at).send(direction, ALL)).keys()
            for each in (seeker.model, without)
        ]
        return all(len(ends) == 1 for ends in fates) and fates[0] != fates[1]

    def _fates(self, direction: Direction) -> Ends:
        found = self._known.get(direction)
        if found is None:
            found = _by_fate(self._seeker.model, self._seeker.passed(direction).way.ends)
            self._known[direction] = found
        return found


class _Matching(NamedTuple):
    """Packets that passed all rules, their fates, and the rules that they match."""

    start: Start
    ends: Ends
    hits: dict[tuple[int, int], int]

    @classmethod
    def of(cls, model: Model, passed: Passed) -> _Matching:
        """Join the packets that one rule matches in several places."""
        hits: dict[tuple[int, int], int] = {}
        for asked in passed.asked:
            key = (id(asked.chain), asked.rule.number)
            hits[key] = model.space.bdd.either(hits.get(key, NONE), asked.hit)
        return cls(passed.start, _by_fate(model, passed.ends), hits)


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


def _without(model: Model, chain: Chain, number: int) -> Model:
    kept = [rule for rule in chain.rules if rule.number != number]
    key = (chain.origin, chain.table, chain.name)
    reduced = replace(chain, rules=kept)
    rules = replace(model.rules, chains={**model.rules.chains, key: reduced})
    made = model.with_rules(rules)
    made.batches.leave_out(chain, number, reduced)
    return made


def _matters_not(without: Model, every: Sequence[_Matching], key: tuple[int, int]) -> bool:
    """Whether the packets that match a rule meet the same fates without it."""
    matched = False
    for start, known, hits in every:
        hit = hits.get(key, NONE)
        if hit == NONE:
            continue
        matched = True
        if _differs(without, start, known, hit):
            return False
        if _changes(without, start._replace(packets=hit), known):
            return False
    return matched


def _changes(without: Model, start: Start, known: Ends) -> bool:
    """Whether packets meet another fate than the known one."""
    ends = _by_fate(without, Walk(without, start.at).send(start.direction, start.packets))
    minus = without.space.bdd.minus
    return any(minus(some, known.get(end, NONE)) != NONE for end, some in ends.items())


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
