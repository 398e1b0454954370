"""The path of one packet: every rule it asked, and the one that decided."""

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
    """What one packet meets.

    Attributes:
        packet: The packet.
        ends: What becomes of it: one end, or several where a condition is not understood.
        asked: Every rule it asked, in order.
    """

    packet: Packet
    ends: tuple[End, ...]
    asked: tuple[Asked, ...]

    @property
    def end(self) -> End:
        """What becomes of the packet, if that is certain; else the first of what may."""
        return self.ends[0]

    @property
    def decider(self) -> Asked | None:
        """The rule that decided, or None where no rule acted."""
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
        return _spared_by(hit)

    @property
    def missed(self) -> tuple[Asked, int] | None:
        """The last rule that would have led on but for a condition, and that condition's place."""
        for asked in reversed(self.asked):
            leads = any(isinstance(a, (*_MOVING, Jump, Goto)) for a in asked.rule.actions)
            if asked.hit == NONE and leads and NONE in asked.conditions:
                return asked, asked.conditions.index(NONE)
        return None


def follow(model: Model, packet: Packet) -> Path:
    """Return the path of one packet."""
    asked: list[Asked] = []
    at = environment(model.space, packet.direction, packet.fields(model.space))
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


def _spared_by(hit: list[Asked]) -> Asked | None:
    """Return the last rule that let the packet pass by, at the hooks where it could be caught."""
    where = {Hook.OUTPUT, Hook.PREROUTING}
    return _last([a for a in hit if a.hook in where], (*_SPARING, *_MARKING))
