"""What a run showed about the rules of its pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple


class NamedRule(NamedTuple):
    """A rule of a pod.

    Attributes:
        chain: The names of its table and chain.
        number: Its place in the chain, from 1.
        text: The rule in the syntax of its program.
        why: Why it is in a list; empty if the list itself says so.
        shared: Whether packets of both IP versions pass its chain, as in an nft table ``inet``.
    """

    chain: str
    number: int
    text: str
    why: str = ""
    shared: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the rule in pods with other lists, in which its number differs."""
        return self.chain, self.text

    @property
    def place(self) -> str:
        """Its chain and number, such as ``OUTPUT #9``."""
        return f"{self.chain.split()[-1]} #{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleUse:
    """The use of the rules of some pods, for one IP version.

    A condition is shown if a packet met it, another packet met all conditions of its rule except
    this one, and the kernel agreed.

    Attributes:
        hit: The rules that a packet matched.
        missed: The rules that packets can match, but none that was sent.
        idle: The rules that no packet can match, each with the reason.
        redundant: The rules whose removal changes the fate of no flow.
        conditions: The number of conditions that packets can meet and fail.
        unshown: The conditions that were not shown, each with the reason.
        unknown: Why idle and redundant rules could not be found out; empty if they were.
    """

    hit: tuple[NamedRule, ...] = ()
    missed: tuple[NamedRule, ...] = ()
    idle: tuple[NamedRule, ...] = ()
    redundant: tuple[NamedRule, ...] = ()
    conditions: int = 0
    unshown: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def rules(self) -> int:
        """The number of rules."""
        return len(self.hit) + len(self.missed) + len(self.idle)

    @property
    def shown(self) -> int:
        """The number of conditions that were shown."""
        return self.conditions - len(self.unshown)

    def judged_with(self, others: Sequence[RuleUse]) -> RuleUse:
        """Return this use without the rules that act, or are needed, in another IP version.

        Args:
            others: The use of the rules of the same pods, for the other IP versions of the run.
        """
        acting = {r.key for use in others for r in (*use.hit, *use.missed) if r.shared}
        spare = {r.key for use in others for r in use.redundant}
        return replace(
            self,
            idle=tuple(r for r in self.idle if not (r.shared and r.key in acting)),
            redundant=tuple(
                r for r in self.redundant if not (r.shared and r.key in acting - spare)
            ),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RuleUse:
        """Return the use that ``dataclasses.asdict`` described."""
        lists = {name: tuple(NamedRule(*each) for each in document[name]) for name in _LISTS}
        return cls(**{**document, **lists, "unshown": tuple(document["unshown"])})

    @classmethod
    def joined(cls, uses: Iterable[RuleUse]) -> RuleUse:
        """Return the use of the rules of several pods.

        A rule counts once. It is idle or redundant if it is so in every pod that has it.
        """
        every = list(dict.fromkeys(uses))
        together = _Together()
        for use in every:
            together.add(use)
        return cls(
            hit=together.of("hit"),
            missed=together.of("missed"),
            idle=together.of("idle"),
            redundant=together.redundant(),
            conditions=sum(use.conditions for use in every),
            unshown=tuple(text for use in every for text in use.unshown),
            unknown=next((use.unknown for use in every if use.unknown), ""),
        )


_LISTS = ("hit", "missed", "idle", "redundant")
_STATES = ("idle", "missed", "hit")
"""The state of a rule in several pods is the last of these."""


@dataclass
class _Together:
    """The rules of several pods, by key."""

    states: dict[tuple[str, str], tuple[int, NamedRule]] = field(default_factory=dict)
    needed: set[tuple[str, str]] = field(default_factory=set)
    spare: dict[tuple[str, str], NamedRule] = field(default_factory=dict)

    def add(self, use: RuleUse) -> None:
        """Add the rules of a pod."""
        spare = {rule.key: rule for rule in use.redundant}
        self.spare.update(spare)
        for order, state in enumerate(_STATES):
            for rule in getattr(use, state):
                if order > self.states.get(rule.key, (-1, rule))[0]:
                    self.states[rule.key] = order, rule
                if state != "idle" and rule.key not in spare:
                    self.needed.add(rule.key)

    def of(self, state: str) -> tuple[NamedRule, ...]:
        """Return the rules in a state."""
        wanted = _STATES.index(state)
        return tuple(rule for order, rule in self.states.values() if order == wanted)

    def redundant(self) -> tuple[NamedRule, ...]:
        """Return the rules that no pod needs."""
        return tuple(rule for key, rule in self.spare.items() if key not in self.needed)
