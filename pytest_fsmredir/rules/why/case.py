"""One failed flow and the rules of its pod; asks what fate it would have under other rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import Chain, Condition, Goto, Jump, Rule, Unknown
from pytest_fsmredir.rules.packet import environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.space import Environment, Space
from pytest_fsmredir.rules.trace import Path, follow
from pytest_fsmredir.rules.why.sending import SentPacket


class Spot(NamedTuple):
    """A rule in its chain."""

    chain: Chain
    rule: Rule


@dataclass(frozen=True)
class Case:
    """One failed flow, and everything that is known about its pod.

    Attributes:
        rules: The rules of the pod, of every family and variant.
        pod: The pod's interfaces and addresses.
        policy: Its policy.
        earlier: The policies that it was programmed with before.
        sending: The packet and the required fate.
    """

    rules: RuleSet
    pod: Surroundings
    policy: Policy
    earlier: tuple[Policy, ...]
    sending: SentPacket

    @cached_property
    def path(self) -> Path:
        """The path of the packet through the rules."""
        return self._follow(self.rules)

    @property
    def end(self) -> EndKind:
        """The fate of the packet, by the model."""
        return self.path.end.kind

    @property
    def family(self) -> int:
        """IP version of the packet."""
        return self.sending.packet.family

    @cached_property
    def hits(self) -> list[Asked]:
        """The rules that match the packet, in order."""
        return [asked for asked in self.path.asked if asked.hit != NONE]

    @cached_property
    def stack(self) -> list[Asked]:
        """The jumps that lead to the deciding rule, and that rule; empty if no rule decides."""
        return self.stack_of(self.path.decider)

    def stack_of(self, last: Asked | None) -> list[Asked]:
        """Return the jumps that lead to a rule that the packet reached, and that rule."""
        found: list[Asked] = []
        if last is None:
            return found
        depth = last.depth + 1
        start = next(i for i, asked in enumerate(self.path.asked) if asked is last)
        for asked in self.path.asked[start::-1]:
            if asked.depth < depth and (asked is last or asked.hit != NONE):
                found.insert(0, asked)
                depth = asked.depth
            if depth == 1:
                break
        return found

    def every(self) -> Iterator[Spot]:
        """Yield every rule that packets of the family can pass."""
        for chain in self.rules.chains.values():
            if self.family in chain.families:
                for rule in chain.rules:
                    yield Spot(chain, rule)

    def failing(self, rule: Rule) -> list[Condition]:
        """Return the conditions of a rule that do not hold for the packet at its start.

        If the packet reached the rule, they are those that did not hold there.
        """
        for asked in self.path.asked:
            if asked.rule is rule:
                pairs = zip(rule.conditions, asked.conditions, strict=True)
                return [condition for condition, holds in pairs if holds == NONE]
        model, at = self._model, self._at
        return [c for c in rule.conditions if model.space.holds(c.test, at) == NONE]

    def without(self, *rules: Rule) -> EndKind:
        """Return the packet's fate if some rules were not there."""
        gone = {id(rule) for rule in rules}
        return self._changed(lambda chain: [rule for rule in chain.rules if id(rule) not in gone])

    def path_without(self, *rules: Rule) -> list[Asked]:
        """Return the rules that the packet would reach if some rules were not there."""
        gone = {id(rule) for rule in rules}
        chains = {
            key: replace(chain, rules=[rule for rule in chain.rules if id(rule) not in gone])
            for key, chain in self.rules.chains.items()
        }
        return list(self._follow(replace(self.rules, chains=chains)).asked)

    def with_match(self, rule: Rule) -> EndKind:
        """Return the packet's fate if a rule matched it."""
        matching = replace(rule, conditions=())
        return self._changed(
            lambda chain: [matching if each is rule else each for each in chain.rules]
        )

    def with_rule(self, chain: Chain, place: int, rule: Rule) -> EndKind:
        """Return the packet's fate if a chain had one more rule, which matches it.

        Args:
            chain: The chain.
            place: The number of rules before it.
            rule: The rule; its conditions are ignored.
        """
        new = replace(rule, conditions=())

        def edited(each: Chain) -> list[Rule]:
            rules = each.rules
            return [*rules[:place], new, *rules[place:]] if each is chain else rules

        return self._changed(edited)

    def leads_to(self, chain: Chain) -> list[Spot]:
        """Return the rules that jump to a chain."""
        return [
            Spot(other, rule)
            for other in self.rules.chains.values()
            for rule in other.rules
            for action in rule.actions
            if isinstance(action, (Jump, Goto)) and self.rules.target(other, action.chain) is chain
        ]

    @cached_property
    def uncertain(self) -> list[str]:
        """The conditions on the path that the model does not understand."""
        return [what for asked in self.path.asked for what in self.unknown(asked.rule)]

    def unknown(self, rule: Rule) -> list[str]:
        """Return the conditions of a rule that the model does not understand."""
        return [
            part.what
            for condition in rule.conditions
            for part in parts(condition.test)
            if isinstance(part, Unknown)
        ]

    def _changed(self, edit: Callable[[Chain], list[Rule]]) -> EndKind:
        chains = {
            key: replace(chain, rules=edit(chain)) for key, chain in self.rules.chains.items()
        }
        return self._follow(replace(self.rules, chains=chains)).end.kind

    def _follow(self, rules: RuleSet) -> Path:
        return follow(self._model_of(rules), self.sending.packet)

    def _model_of(self, rules: RuleSet) -> Model:
        interfaces = self.pod.interfaces(rules, [self.sending.packet.interface])
        space = Space(self.family, interfaces, self.pod.local(self.family))
        return Model(rules, space, self.pod)

    @cached_property
    def _model(self) -> Model:
        return self._model_of(self.rules)

    @cached_property
    def _at(self) -> Environment:
        packet = self.sending.packet
        return environment(self._model.space, packet.direction, packet.fields(self._model.space))
