"""What becomes of packets, and the rules that were asked on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pytest_fsmredir.rules.forms import Chain, Hook, Rule


class EndKind(StrEnum):
    """What becomes of a packet."""

    DIRECT = "direct"
    CAPTURED_OUTBOUND = "captured outbound"
    CAPTURED_INBOUND = "captured inbound"
    ELSEWHERE = "sent elsewhere"
    CHANGED = "changed"
    DROPPED = "dropped"
    REFUSED = "refused"
    LOST = "not delivered"
    FORWARDED = "forwarded"
    OPAQUE = "not understood"


class End(NamedTuple):
    """What becomes of a packet, and more about it."""

    kind: EndKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.detail})" if self.detail else self.kind.value


Ends = dict[End, int]
"""Disjoint sets of packets, by what becomes of them."""


class Move(NamedTuple):
    """A new destination of a connection; None keeps what was there."""

    address: int | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One rule that was asked.

    Attributes:
        hook: Where.
        chain: In which chain.
        rule: The rule.
        reached: The packets that asked it.
        conditions: For each of its conditions, the packets for which it holds.
        hit: The packets that it acted on.
        depth: How many chains lead here, this one counted.
    """

    hook: Hook
    chain: Chain
    rule: Rule
    reached: int
    conditions: tuple[int, ...]
    hit: int
    depth: int


Observer = Callable[[Asked], None]
