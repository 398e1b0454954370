"""The possible fates of packets, and the rules that they match on the way."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from pytest_fsmredir.rules.forms import Chain, Hook, Rule

SOURCE_CHANGED: Final = "its source"
"""The detail of the fate of packets whose source NAT changes."""
NO_ROUTE: Final = "a route of type"
"""The detail of the fate of packets that are not delivered begins so if their route loses them."""


class EndKind(StrEnum):
    """The kind of a packet's fate."""

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
    """A packet's fate, with details."""

    kind: EndKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.detail})" if self.detail else self.kind.value


Ends = dict[End, int]
"""Disjoint sets of packets, by their fate."""


class Move(NamedTuple):
    """A connection's new destination after NAT; None keeps the old address or port."""

    address: int | None
    port: int | None


class Asked(NamedTuple):
    """One evaluation of a rule.

    Attributes:
        hook: The hook of the base chain.
        chain: The chain that contains the rule.
        rule: The rule.
        reached: The packets that reach the rule.
        conditions: For each of its conditions, the packets for which it holds.
        hit: The packets that match the rule.
        depth: The number of nested chains, this one included.
    """

    hook: Hook
    chain: Chain
    rule: Rule
    reached: int
    conditions: tuple[int, ...]
    hit: int
    depth: int


Observer = Callable[[Asked], None]
