"""One failed flow and the rules of its pod; asks what fate it would have under other rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple

from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import (
    Accept,
    Chain,
    Condition,
    Destination,
    Drop,
    Goto,
    Jump,
    Redirect,
    Reject,
    Return,
    Rule,
    Unknown,
)
from pytest_fsmredir.rules.packet import environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.space import Environment, Space
from pytest_fsmredir.rules.trace import Path, follow
from pytest_fsmredir.rules.why.sending import SentPacket

_PLAIN: Final = (Return, Accept, Redirect, Destination, Drop, Reject)
"""Actions that decide on a packet and change no field that a later rule compares."""


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
        return follow(self._model, self.sending.packet)

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
        asked = self._reached.get(id(rule))
        if asked is not None:
            pairs = zip(rule.conditions, asked.conditions, strict=True)
            return [condition for condition, holds in pairs if holds == NONE]
        model, at = self._model, self._at
        return [c for c in rule.conditions if model.space.holds(c.test, at) == NONE]

    def without(self, *rules: Rule) -> EndKind:
        """Return the packet's fate if some rules were not there."""
        return self._fate(self._lacking(rules))

    def path_without(self, *rules: Rule) -> list[Asked]:
        """Return the rules that the packet would reach if some rules were not there."""
        model = self._model.with_rules(self._lacking(rules))
        return list(follow(model, self.sending.packet).asked)

    def with_match(self, rule: Rule) -> EndKind:
        """Return the packet's fate if a rule matched it."""
        return self.with_other(rule, replace(rule, conditions=()))

    def leading_to(self, rule: Rule, chain: Chain) -> EndKind:
        """Return the packet's fate if a rule led to another chain."""
        return self.with_other(rule, replace(rule, actions=(Jump(chain.name),)))

    def with_other(self, rule: Rule, other: Rule) -> EndKind:
        """Return the packet's fate if another rule stood in the place of a rule."""
        return self._fate(
            self._edited(lambda own: [other if each is rule else each for each in own], [rule])
        )

    def changes_nothing(self, rule: Rule) -> bool:
        """Whether a rule leaves the fields of a packet alone, also in the chains that it leads to.

        Two such rules that a packet passes one after the other do the same to it.
        """
        for action in rule.actions:
            if isinstance(action, (Jump, Goto)):
                if any(self._model.batches.written(c) for c in self._named(action.chain)):
                    return False
            elif not isinstance(action, _PLAIN):
                return False
        return True

    def _named(self, name: str) -> list[Chain]:
        return [chain for chain in self.rules.chains.values() if chain.name == name]

    def with_rule(self, chain: Chain, place: int, rule: Rule) -> EndKind:
        """Return the packet's fate if a chain had one more rule, which matches it.

        Args:
            chain: The chain.
            place: The number of rules before it.
            rule: The rule; its conditions are ignored.
        """
        new = replace(rule, conditions=())

        longer = replace(chain, rules=[*chain.rules[:place], new, *chain.rules[place:]])
        chains = {key: longer if each is chain else each for key, each in self.rules.chains.items()}
        return self._fate(replace(self.rules, chains=chains))

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

    def _lacking(self, rules: Sequence[Rule]) -> RuleSet:
        gone = {id(rule) for rule in rules}
        return self._edited(lambda own: [rule for rule in own if id(rule) not in gone], rules)

    def _edited(self, edit: Callable[[list[Rule]], list[Rule]], rules: Sequence[Rule]) -> RuleSet:
        """Return the rules with edited chains: those that contain one of some rules."""
        touched = {id(rule) for rule in rules}
        chains = {
            key: replace(chain, rules=edit(chain.rules))
            if any(id(rule) in touched for rule in chain.rules)
            else chain
            for key, chain in self.rules.chains.items()
        }
        return replace(self.rules, chains=chains)

    def _fate(self, rules: RuleSet) -> EndKind:
        """Return the packet's fate under other rules; the model keeps what it knows of each."""
        model = self._model.with_rules(rules)
        return follow(model, self.sending.packet).end.kind

    @cached_property
    def _reached(self) -> dict[int, Asked]:
        """The first evaluation of each rule that the packet reached, by the rule's identity."""
        return {id(asked.rule): asked for asked in reversed(self.path.asked)}

    @cached_property
    def _model(self) -> Model:
        interfaces = self.pod.interfaces(self.rules, [self.sending.packet.interface])
        space = Space(self.family, interfaces, self.pod.local(self.family))
        return Model(self.rules, space, self.pod)

    @cached_property
    def _at(self) -> Environment:
        packet = self.sending.packet
        return environment(self._model.space, packet.direction, packet.fields(self._model.space))
