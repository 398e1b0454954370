"""Which packets show each condition of each rule both ways: it holds, and it alone fails.

This is modified condition/decision coverage, as for the decisions of a program. One packet shows
that a rule matches; for each of its conditions, another packet meets all others and not this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.forms import Chain, Condition, Rule
from pytest_fsmredir.rules.seek import Seeker

Way = tuple[Direction, int]
"""A direction, and the state of the packets' connections."""

Sets = Mapping[Way, int]
"""A set of packets for each way."""

Key = tuple[int, int, int]
"""Chain, number of the rule, and the rule or its condition."""


@dataclass(slots=True)
class Goal:
    """A rule that has to match, or one of its conditions that has to fail alone.

    Attributes:
        chain: The chain that contains the rule.
        rule: The rule.
        condition: The condition that fails; None if the rule matches.
        flows: The packets that reach the goal, by way.
    """

    chain: Chain
    rule: Rule
    condition: Condition | None
    flows: dict[Way, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Identifies the goal; rules that one rule of nft was split into share conditions."""
        return _key(self.chain, self.rule, self.condition)

    def within(self, seeker: Seeker, packets: Sets) -> Iterator[tuple[Way, int]]:
        """Yield the packets of some sets that reach the goal, by way, where there are any."""
        for way, flows in self.flows.items():
            some = seeker.space.bdd.both(flows, packets.get(way, NONE))
            if some != NONE:
                yield way, some

    def occurs(self, seeker: Seeker, packets: Sets) -> bool:
        """Whether a packet of some sets reaches the goal."""
        return next(self.within(seeker, packets), None) is not None

    def keep(self, seeker: Seeker, packets: Sets) -> None:
        """Leave out packets that are not in some sets."""
        self.flows = dict(self.within(seeker, packets))


def goals(seeker: Seeker, every: Sets) -> list[Goal]:
    """Return the goals of all rules that packets of some sets reach, in the kernel's order.

    A goal that no packet reaches for certain has no flows: the condition always holds, or it
    depends on conditions that are not understood.
    """
    found: dict[Key, Goal] = {}
    for way, flows in every.items():
        for asked in seeker.shown(way[0], flows, way[1]):
            for condition in (None, *asked.rule.conditions):
                goal = Goal(asked.chain, asked.rule, condition)
                goal = found.setdefault(goal.key, goal)
                some = _wanted(seeker, asked, condition)
                old = goal.flows.get(way, NONE)
                goal.flows[way] = seeker.space.bdd.either(old, some)
    for goal in found.values():
        goal.keep(seeker, every)
    return list(found.values())


def reached(asked: Asked) -> Key | None:
    """Return the key of the goal that a single packet reaches at a rule; None without one."""
    if asked.hit == ALL:
        return _key(asked.chain, asked.rule, None)
    alone = asked.conditions.count(ALL) == len(asked.conditions) - 1
    if alone and NONE in asked.conditions:
        failing = asked.rule.conditions[asked.conditions.index(NONE)]
        return _key(asked.chain, asked.rule, failing)
    return None


def _key(chain: Chain, rule: Rule, condition: Condition | None) -> Key:
    return id(chain), rule.number, id(condition or rule)


def _wanted(seeker: Seeker, asked: Asked, condition: Condition | None) -> int:
    """Return the packets that match a rule, or that fail one of its conditions alone."""
    if condition is None:
        return _certain(seeker, asked.hit)
    bdd, rest = seeker.space.bdd, asked.reached
    for other, holds in zip(asked.rule.conditions, asked.conditions, strict=True):
        rest = bdd.minus(rest, holds) if other is condition else bdd.both(rest, holds)
    return _certain(seeker, rest)


def _certain(seeker: Seeker, flows: int) -> int:
    """Return the flows that are in a set for every result of the conditions not understood."""
    bdd = seeker.space.bdd
    free: Iterable[int] = [each.variable for each in seeker.space.free]
    return bdd.minus(flows, bdd.either_way(bdd.opposite(flows), free)) if free else flows
