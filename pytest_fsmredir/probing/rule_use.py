"""Sum up what packets and proofs show about the rules of a pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from pytest_fsmredir.model.rule_use import NamedRule, RuleUse
from pytest_fsmredir.probing.validation import Validation
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import Chain, Rule
from pytest_fsmredir.rules.goals import Goal, Sets
from pytest_fsmredir.rules.hygiene import AllPackets, IdleRule, concerns, idle_rules
from pytest_fsmredir.rules.packet import TCP, UDP, Packet, protocol_name
from pytest_fsmredir.rules.redundant import Deciding, redundant_rules
from pytest_fsmredir.rules.seek import Seeker

_PREFIX = re.compile(r"(\[\d+:\d+\] )?-A \S+ ")


RuleKey = tuple[int, str, str, str]
"""IP version, the program that the rule belongs to, chain and text: a rule, whatever its pod."""


def rule_use(seeker: Seeker, done: Validation, every: Sets, needed: set[RuleKey]) -> RuleUse:
    """Return the use of the rules of a pod.

    Args:
        seeker: The pod's rules.
        done: The goals of its rules, and those that packets reached.
        every: The packets that can occur.
        needed: Rules that decide the fate of a packet in some pod. Such a rule is not redundant
            in this pod either. Those of this pod are added.
    """
    family = seeker.space.family
    hit = {goal.key[:2] for goal in done.wanted if _is_hit(goal, done)}
    concerned = [
        (chain, rule)
        for chain in seeker.model.rules.chains.values()
        if family in chain.families
        for rule in chain.rules
        if concerns(rule, family)
    ]
    _note_needed(seeker, done, every, needed)
    spare = _spare(seeker, concerned, hit, needed)
    never = {id(each.rule) for each in spare.idle}
    acting = [
        (chain, rule, (id(chain), rule.number) in hit)
        for chain, rule in concerned
        if id(rule) not in never
    ]
    pairs = list(_pairs(done.wanted))
    open_ = [pair for pair in pairs if not pair.shown(done)]
    return RuleUse(
        hit=_named((chain, rule) for chain, rule, matched in acting if matched),
        missed=_named((chain, rule) for chain, rule, matched in acting if not matched),
        idle=tuple(
            dict.fromkeys(
                _name(each.chain, each.rule)._replace(why=_why(each)) for each in spare.idle
            )
        ),
        redundant=_named(spare.redundant),
        conditions=len(pairs),
        unshown=tuple(pair.why_not(seeker, done) for pair in open_),
        unknown=spare.unknown,
    )


class _Spare(NamedTuple):
    """The rules of a pod that are not needed there.

    Attributes:
        idle: Those that no packet matches.
        redundant: Those whose removal changes no fate.
        unknown: Why both could not be found out; empty if they were.
    """

    idle: list[IdleRule]
    redundant: list[tuple[Chain, Rule]]
    unknown: str = ""


def _spare(
    seeker: Seeker,
    concerned: list[tuple[Chain, Rule]],
    hit: set[tuple[int, int]],
    needed: set[RuleKey],
) -> _Spare:
    """Find the rules that this pod does not need, unless packets showed that it needs them all."""

    def is_needed(chain: Chain, rule: Rule) -> bool:
        return _key(seeker, chain, rule) in needed

    acting = all((id(chain), rule.number) in hit for chain, rule in concerned)
    if acting and all(is_needed(chain, rule) for chain, rule in concerned):
        return _Spare([], [])
    # Rules about interfaces that this pod lacks act in other pods.
    around = replace(seeker.model.surroundings, closed=False)
    try:
        packets = AllPackets.of(seeker.model.rules, seeker.space.family, around)
        return _Spare(idle_rules(packets), redundant_rules(packets, is_needed))
    except TooComplexError as why:
        return _Spare([], [], str(why))


def _note_needed(seeker: Seeker, done: Validation, every: Sets, needed: set[RuleKey]) -> None:
    """Add the rules that decide the fate of one of the packets that they match."""
    deciding = Deciding(seeker)
    for goal in done.wanted:
        key = _key(seeker, goal.chain, goal.rule)
        if goal.condition is not None or key in needed:
            continue
        matching = goal.within(seeker, every)
        if any(deciding.decides(goal.chain, goal.rule, way, some) for way, some in matching):
            needed.add(key)


def _key(seeker: Seeker, chain: Chain, rule: Rule) -> RuleKey:
    return seeker.space.family, chain.origin, *_name(chain, rule).key


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
    text, shared = _PREFIX.sub("", rule.text), len(chain.families) > 1
    return NamedRule(f"{chain.table} {chain.name}", rule.number, text, shared=shared)


def _why(idle: IdleRule) -> str:
    return f"behind #{idle.behind.number}" if idle.behind else idle.why
