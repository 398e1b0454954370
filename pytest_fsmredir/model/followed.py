"""A failed flow as plain values, for pictures: the rules that it reached, and who accepted it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pytest_fsmredir.model.flow import Address, Fate, Protocol

_HOPS = 8  # of a loop


class Part(StrEnum):
    """What a rule has to do with the fate of a flow."""

    DECIDED = "decided"
    MATCHED = "matched"
    PASSED = "not matched"
    UNREACHED = "not reached"
    MISSING = "missing"


class Step(NamedTuple):
    """One rule that a flow reached, or that the explanation of its fate names.

    Attributes:
        table: The name of the table.
        chain: The name of the chain.
        number: The rule's place in the chain, from 1; 0 for a missing rule.
        rule: The rule in the syntax of its program; empty for a missing rule.
        part: What it has to do with the fate.
        note: What it does, or the condition that does not hold.
        blamed: Whether the explanation names it.
    """

    table: str
    chain: str
    number: int
    rule: str
    part: Part
    note: str = ""
    blamed: bool = False


class RuleWalk(NamedTuple):
    """The way of a flow through the rules of a pod.

    Attributes:
        steps: In the order of the flow.
        end: Its fate by these rules.
        wanted: The required fate.
    """

    steps: tuple[Step, ...]
    end: str
    wanted: str

    @classmethod
    def from_plain(cls, values: Sequence[Any]) -> RuleWalk:
        """Return the walk from plain JSON values."""
        steps, end, wanted = values
        read = tuple(
            Step(table, chain, number, rule, Part(part), note, blamed)
            for table, chain, number, rule, part, note, blamed in steps
        )
        return cls(read, end, wanted)


class Hop(NamedTuple):
    """One acceptance of a flow.

    Attributes:
        by: The listener.
        local: The address that the listener accepted it on.
        peer: The client's address as the listener saw it.
        destination: The destination before NAT.
    """

    by: str
    local: str
    peer: str
    destination: str


class Delivery(NamedTuple):
    """What both ends saw of a flow.

    Attributes:
        protocol: The protocol.
        direction: The direction, seen from the pod.
        uid: The owner of the client's socket; None outside the pod.
        client: The client's own address; empty if no socket was bound.
        destination: The address that the client dialled.
        hops: The first acceptances, in order.
        accepted: The number of all acceptances.
        lost: How the client ended without an answer; empty if it was answered.
    """

    protocol: str
    direction: str
    uid: int | None
    client: str
    destination: str
    hops: tuple[Hop, ...]
    accepted: int
    lost: str

    @classmethod
    def of(cls, fate: Fate) -> Delivery:
        """Return the delivery of a flow with a known fate."""
        flow = fate.flow
        show = _host if flow.protocol is Protocol.ICMP else str
        hops = [
            Hop(each.by.value, *map(show, (each.local, each.peer, each.destination)))
            for each in fate.path[:_HOPS]
        ]
        return cls(
            protocol=flow.protocol.value,
            direction=flow.direction.value,
            uid=flow.uid,
            client="" if fate.client is None else show(fate.client),
            destination=show(flow.destination),
            hops=tuple(hops),
            accepted=len(fate.path),
            lost=fate.lost or "",
        )

    @classmethod
    def from_plain(cls, values: Sequence[Any]) -> Delivery:
        """Return the delivery from plain JSON values."""
        known = dict(zip(cls._fields, values, strict=True))
        return cls(**{**known, "hops": tuple(Hop(*hop) for hop in known["hops"])})


def _host(address: Address) -> str:
    return address.host
