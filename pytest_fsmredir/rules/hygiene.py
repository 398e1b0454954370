"""Find the rules that no packet can match, and explain why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.forms import Chain, Field, Rule, RuleSet
from pytest_fsmredir.rules.packet import environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
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
    """

    rule: Rule
    chain: Chain
    why: str


def idle_rules(rules: RuleSet, family: int, surroundings: Surroundings) -> list[IdleRule]:
    """Return the rules that no packet of an IP version can match, in order.

    This considers packets of every protocol, state and direction, forwarded packets included.

    Raises:
        TooComplexError: The rules exceed the limits of the analysis.
    """
    space = Space(family, surroundings.interfaces(rules), surroundings.local(family))
    model = Model(rules, space, surroundings)
    seen = _Seen(space)
    for direction, at in _starts(space):
        Walk(model, at, observer=seen.note).send(direction, ALL)
    return [
        IdleRule(rule, chain, seen.why_not(chain, rule))
        for chain in rules.chains.values()
        if family in chain.families
        for rule in chain.rules
        if rule.actions and not seen.acts(rule)
    ]


def _starts(space: Space) -> Iterator[tuple[Direction, Environment]]:
    for direction in Direction:
        for state in (NEW, ESTABLISHED, RELATED, INVALID):
            at = environment(space, direction, {})
            at[Field.STATE] = space.constant(Field.STATE, state)
            if state != NEW:  # an earlier packet can have left any mark
                at[Field.CONNECTION_MARK] = at[Field.MARK]
            yield direction, at
    # Packets that the kernel sends by itself, such as a reset, have no owner.
    alone = environment(space, Direction.OUTBOUND, {})
    alone[Field.HAS_SOCKET] = space.constant(Field.HAS_SOCKET, 0)
    yield Direction.OUTBOUND, alone


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

    def why_not(self, chain: Chain, rule: Rule) -> str:
        """Return why no packet matches a rule."""
        before = chain.rules[: chain.rules.index(rule)]
        if not any(id(other) in self._asked for other in (*before, rule)):
            return f"no packet reaches the chain {chain.name}"
        met = [self._met(asked) for asked in self._asked.get(id(rule), ())]
        if met and not any(met):
            return "no packet meets its conditions in this chain"
        at = environment(self._space, Direction.OUTBOUND, {})
        own = self._conditions(rule, at)
        for other in before:
            covers = self._space.bdd.minus(own, self._conditions(other, at)) == NONE
            if covers and self.acts(other):
                where = f"line {other.line}" if other.line else f"rule {other.number}"
                return f"{where} matches all of its packets first"
        return "earlier rules match all of its packets"

    def _met(self, asked: Asked) -> int:
        found = ALL
        for holds in asked.conditions:
            found = self._space.bdd.both(found, holds)
        return found

    def _conditions(self, rule: Rule, at: Environment) -> int:
        found = ALL
        for condition in rule.conditions:
            found = self._space.bdd.both(found, self._space.holds(condition.test, at))
        return found
