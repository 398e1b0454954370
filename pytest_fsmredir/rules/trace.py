"""Trace one packet: every rule that it reaches, and the rule that decides."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked, End, EndKind
from pytest_fsmredir.rules.forms import (
    Accept,
    Alter,
    Condition,
    Copy,
    Destination,
    Drop,
    Goto,
    Hook,
    Jump,
    Opaque,
    Redirect,
    Reject,
    Return,
    Source,
    Tproxy,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.packet import Packet, environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.walk import Walk

_ENDING = (Drop, Reject, Opaque)
_MOVING = (Redirect, Destination, Tproxy)
_MARKING = (Write, Copy, Alter, Source, Untrack)
_SPARING = (Return, Accept)


@dataclass(frozen=True, slots=True)
class Path:
    """The path of one packet through the rules.

    Attributes:
        packet: The packet.
        ends: Its fate: one end, or several if a condition is not understood.
        asked: Every rule that it reaches, in order.
    """

    packet: Packet
    ends: tuple[End, ...]
    asked: tuple[Asked, ...]

    @property
    def end(self) -> End:
        """The packet's fate; the first possible one if it is not certain."""
        return self.ends[0]

    @property
    def decider(self) -> Asked | None:
        """The rule that decided, or None if no rule matched."""
        hit = [asked for asked in self.asked if asked.hit != NONE]
        if self.end.kind in {EndKind.DROPPED, EndKind.REFUSED, EndKind.OPAQUE}:
            return _last(hit, _ENDING)
        if self.end.kind is EndKind.CHANGED:
            return _last(hit, _MARKING)
        if self.end.kind in {
            EndKind.CAPTURED_INBOUND,
            EndKind.CAPTURED_OUTBOUND,
            EndKind.ELSEWHERE,
        }:
            return _last(hit, _MOVING)
        return _last_exemption(hit)

    @property
    def missed(self) -> tuple[Asked, int] | None:
        """The last rule that failed to match, and the index of its failing condition."""
        for asked in reversed(self.asked):
            leads = any(isinstance(a, (*_MOVING, Jump, Goto)) for a in asked.rule.actions)
            if asked.hit == NONE and leads and NONE in asked.conditions:
                return asked, asked.conditions.index(NONE)
        return None


def follow(model: Model, packet: Packet) -> Path:
    """Return the path of one packet."""
    asked: list[Asked] = []
    at = environment(model.space, packet.direction, packet.fields(model.space), packet.state)
    walk = Walk(model, at, observer=asked.append)
    ends = walk.send(packet.direction, ALL)
    return Path(packet, tuple(ends), tuple(asked))


def first_failing(asked: Asked) -> Condition | None:
    """Return the first condition of a rule that does not hold."""
    for condition, holds in zip(asked.rule.conditions, asked.conditions, strict=True):
        if holds == NONE:
            return condition
    return None


def _last(hit: list[Asked], kinds: tuple[type, ...]) -> Asked | None:
    for asked in reversed(hit):
        if any(isinstance(action, kinds) for action in asked.rule.actions):
            return asked
    return None


def _last_exemption(hit: list[Asked]) -> Asked | None:
    """Return the last rule that exempted the packet, at the hooks that could redirect it."""
    where = {Hook.OUTPUT, Hook.PREROUTING}
    return _last([a for a in hit if a.hook in where], (*_SPARING, *_MARKING))
