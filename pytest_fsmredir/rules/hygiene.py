"""Find the rules that no packet can match, and explain why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import ALL, NONE, contains
from pytest_fsmredir.rules.divided import divided_space
from pytest_fsmredir.rules.ends import Asked, Ends
from pytest_fsmredir.rules.forms import AllOf, Chain, Field, Number, Rule, Test
from pytest_fsmredir.rules.packet import environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.space import Environment, Space
from pytest_fsmredir.rules.vocabulary import ESTABLISHED, INVALID, NEW, RELATED
from pytest_fsmredir.rules.walk import Walk


@dataclass(frozen=True, slots=True)
class IdleRule:
    """A rule that no packet can match.

    Attributes:
        rule: The rule.
        chain: The chain that contains it.
        why: The reason, in words.
        behind: An earlier rule of the chain that matches all of its packets; None if there is not
            one alone.
    """

    rule: Rule
    chain: Chain
    why: str
    behind: Rule | None = None


def concerns(rule: Rule, family: int) -> bool:
    """Whether a rule can be about packets of an IP version; an nft table can hold both."""
    return all(_permits(condition.test, family) for condition in rule.conditions)


def _permits(test: Test, family: int) -> bool:
    if isinstance(test, AllOf):
        return all(_permits(part, family) for part in test.tests)
    if isinstance(test, Number) and test.field is Field.FAMILY:
        return contains(test.values, family)
    return True


class Start(NamedTuple):
    """All packets of one direction, with connections in one state.

    Attributes:
        direction: Seen from the pod.
        at: Their fields.
        packets: The packets.
    """

    direction: Direction
    at: Environment
    packets: int


def starts(space: Space) -> Iterator[Start]:
    """Yield all packets, by direction and state."""
    lo = space.index("lo")
    remote = space.bdd.opposite(space.within(Field.IN, space.symbol(Field.IN), ((lo, lo),)))
    for direction in Direction:
        for state in (NEW, ESTABLISHED, RELATED, INVALID):
            at = environment(space, direction, {}, state)
            if state != NEW:  # an earlier packet can have left any mark
                at[Field.CONNECTION_MARK] = at[Field.MARK]
            yield Start(direction, at, ALL if direction is Direction.OUTBOUND else remote)
    # Packets that the kernel sends by itself, such as a reset, have no owner.
    alone = environment(space, Direction.OUTBOUND, {})
    alone[Field.HAS_SOCKET] = space.constant(Field.HAS_SOCKET, 0)
    yield Start(Direction.OUTBOUND, alone, ALL)


class Passed(NamedTuple):
    """All packets of one start, after they passed the rules.

    Attributes:
        start: The packets.
        ends: Their fates.
        asked: Every rule that they reach, with the packets that match it.
    """

    start: Start
    ends: Ends
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class AllPackets:
    """Every packet of an IP version, after it passed the rules.

    This includes packets of every protocol, state and direction, and forwarded packets.

    Attributes:
        model: The rules.
        every: The packets by start.
    """

    model: Model
    every: tuple[Passed, ...]

    @classmethod
    def of(cls, rules: RuleSet, family: int, surroundings: Surroundings) -> AllPackets:
        """Send every packet through the rules.

        Raises:
            TooComplexError: The rules exceed the limits of the analysis.
        """
        names = surroundings.interfaces(rules)
        space = divided_space(rules, family, surroundings, names)
        model = Model(rules, space, surroundings)
        return cls(model, tuple(_passed(model, start) for start in starts(space)))


def _passed(model: Model, start: Start) -> Passed:
    asked: list[Asked] = []
    walk = Walk(model, start.at, observer=asked.append)
    return Passed(start, walk.send(start.direction, start.packets), tuple(asked))


def idle_rules(packets: AllPackets) -> list[IdleRule]:
    """Return the rules that no packet can match, in order.

    Raises:
        TooComplexError: The rules exceed the limits of the analysis.
    """
    space = packets.model.space
    family, seen = space.family, _Seen(space)
    for passed in packets.every:
        for asked in passed.asked:
            seen.note(asked)
    return [
        IdleRule(rule, chain, *seen.why_not(chain, rule))
        for chain in packets.model.rules.chains.values()
        if family in chain.families
        for rule in chain.rules
        if rule.actions and not seen.acts(rule) and concerns(rule, family)
    ]


def never_acting(idle: Mapping[int, Sequence[IdleRule]]) -> dict[int, list[IdleRule]]:
    """Return the rules that no packet of any IP version can match, by IP version.

    Args:
        idle: The rules that no packet of an IP version can match, by that version.
    """

    def acts(rule: Rule, chain: Chain, family: int) -> bool:
        spare = any(each.rule is rule for each in idle[family])
        return family in chain.families and concerns(rule, family) and not spare

    return {
        family: [each for each in rules if not any(acts(each.rule, each.chain, f) for f in idle)]
        for family, rules in idle.items()
    }


class _Seen:
    """Collects which packets reach and match each rule."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._hit: set[int] = set()
        self._asked: dict[int, list[Asked]] = {}

    def note(self, asked: Asked) -> None:
        """Record one evaluation of a rule."""
        if asked.hit != NONE:
            self._hit.add(id(asked.rule))
        self._asked.setdefault(id(asked.rule), []).append(asked)

    def acts(self, rule: Rule) -> bool:
        """Whether any packet matches the rule."""
        return id(rule) in self._hit

    def why_not(self, chain: Chain, rule: Rule) -> tuple[str, Rule | None]:
        """Return why no packet matches a rule, and the rule that takes its packets."""
        before = chain.rules[: chain.rules.index(rule)]
        if not any(id(other) in self._asked for other in (*before, rule)):
            return f"no packet reaches the chain {chain.name}", None
        entered = [asked.reached for asked in self._asked.get(id(chain.rules[0]), ())]
        inside = self._space.bdd.union(entered)
        met = [self._met(asked, inside) for asked in self._asked.get(id(rule), ())]
        if met and not any(met):
            return "no packet meets its conditions in this chain", None
        at = environment(self._space, Direction.OUTBOUND, {})
        own = self._conditions(rule, at)
        for other in before:
            covers = self._space.bdd.minus(own, self._conditions(other, at)) == NONE
            if covers and self.acts(other):
                where = f"line {other.line}" if other.line else f"rule {other.number}"
                return f"{where} matches all of its packets first", other
        return "earlier rules match all of its packets", None

    def _met(self, asked: Asked, inside: int) -> int:
        found = inside
        for holds in asked.conditions:
            found = self._space.bdd.both(found, holds)
        return found

    def _conditions(self, rule: Rule, at: Environment) -> int:
        found = ALL
        for condition in rule.conditions:
            found = self._space.bdd.both(found, self._space.holds(condition.test, at))
        return found
