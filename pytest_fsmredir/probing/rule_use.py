"""Sum up what packets and proofs show about the rules of a pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pytest_fsmredir.model.rule_use import NamedRule, RuleUse
from pytest_fsmredir.probing.validation import Validation
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import Chain, Rule
from pytest_fsmredir.rules.goals import Goal
from pytest_fsmredir.rules.hygiene import IdleRule, concerns, idle_rules
from pytest_fsmredir.rules.packet import TCP, UDP, Packet, protocol_name
from pytest_fsmredir.rules.redundant import redundant_rules
from pytest_fsmredir.rules.seek import Seeker

_PREFIX = re.compile(r"(\[\d+:\d+\] )?-A \S+ ")


def rule_use(seeker: Seeker, done: Validation) -> RuleUse:
    """Return the use of the rules of a pod.

    Args:
        seeker: The pod's rules.
        done: The goals of its rules, and those that packets reached.
    """
    rules, family = seeker.model.rules, seeker.space.family
    # Rules about interfaces that this pod lacks act in other pods.
    around = replace(seeker.model.surroundings, closed=False)
    try:
        idle = idle_rules(rules, family, around)
        redundant = redundant_rules(rules, family, around)
    except TooComplexError:
        idle, redundant = [], []
    never = {id(each.rule) for each in idle}
    hit = {goal.key[:2] for goal in done.wanted if _is_hit(goal, done)}
    acting = [
        (chain, rule, (id(chain), rule.number) in hit)
        for chain in rules.chains.values()
        if family in chain.families
        for rule in chain.rules
        if id(rule) not in never and concerns(rule, family)
    ]
    pairs = list(_pairs(done.wanted))
    open_ = [pair for pair in pairs if not pair.shown(done)]
    return RuleUse(
        hit=_named((chain, rule) for chain, rule, matched in acting if matched),
        missed=_named((chain, rule) for chain, rule, matched in acting if not matched),
        idle=tuple(
            dict.fromkeys(_name(each.chain, each.rule)._replace(why=_why(each)) for each in idle)
        ),
        redundant=_named(redundant),
        conditions=len(pairs),
        unshown=tuple(pair.why_not(seeker, done) for pair in open_),
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A condition that packets can meet and fail.

    Attributes:
        fails: The goal of the packet that fails it.
        holds: The goals of packets that meet it; one is enough.
    """

    fails: Goal
    holds: tuple[Goal, ...]

    def shown(self, done: Validation) -> bool:
        """Whether packets reached both goals."""
        return self.fails.key in done.reached and any(g.key in done.reached for g in self.holds)

    def why_not(self, seeker: Seeker, done: Validation) -> str:
        """Return the condition, and the packet that would show it."""
        condition, reason = self.fails.condition, done.without
        if not reason:
            missing = self.holds[0] if self.fails.key in done.reached else self.fails
            (((direction, state), flows), *_) = missing.flows.items()
            packet = seeker.plainest(direction, flows, state)
            reason = f"no packet was sent like {_words(packet)}"
        text = condition.text if condition else ""
        return f"{_name(self.fails.chain, self.fails.rule).place}: {text}: {reason}"


def _words(packet: Packet) -> str:
    """Describe a packet without the addresses of the pod, which differ between runs."""
    port = f" to port {packet.port}" if packet.protocol in {TCP, UDP} else ""
    name = f"{protocol_name(packet.protocol)}{port}"
    return " ".join([packet.direction.value, name, *packet.unusual()])


def _pairs(wanted: list[Goal]) -> Iterator[_Pair]:
    matching: dict[tuple[int, int], list[Goal]] = {}
    for goal in wanted:
        if goal.condition is None and goal.flows:
            matching.setdefault(goal.key[:2], []).append(goal)
    for goal in wanted:
        if goal.condition is not None and goal.flows:
            holds = tuple(
                each
                for each in matching.get(goal.key[:2], ())
                if any(condition is goal.condition for condition in each.rule.conditions)
            )
            if holds:
                yield _Pair(goal, holds)


def _is_hit(goal: Goal, done: Validation) -> bool:
    return goal.condition is None and goal.key in done.reached


def _named(rules: Iterable[tuple[Chain, Rule]]) -> tuple[NamedRule, ...]:
    return tuple(dict.fromkeys(_name(chain, rule) for chain, rule in rules))


def _name(chain: Chain, rule: Rule) -> NamedRule:
    return NamedRule(f"{chain.table} {chain.name}", rule.number, _PREFIX.sub("", rule.text))


def _why(idle: IdleRule) -> str:
    return f"behind #{idle.behind.number}" if idle.behind else idle.why
