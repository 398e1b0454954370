"""Compute what the document requires of every packet: ask the oracle once per class of flows.

The oracle only uses which list, range or reserved set the parts of a flow lie in. So all flows fall
into a few classes, and the oracle's answer for one flow of a class holds for the whole class. This
module does not interpret the document: every answer comes from the oracle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.flow import Address, Direction, Flow, Route
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
    SIDECAR_UID,
)
from pytest_fsmredir.rules.bdd import NONE, Intervals, contains, joined, outside
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.packet import Domain, text_of
from pytest_fsmredir.rules.partition import Spans
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.space import LOOPBACK, Space
from pytest_fsmredir.rules.vocabulary import address

_SIDECARS = (ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT)


@dataclass(frozen=True, slots=True)
class Duty:
    """What a sentence of the document requires of flows.

    Attributes:
        route: The route that the flows have to take.
        sentence: Its id in SPEC.md.
        level: The requirement level.
    """

    route: Route
    sentence: str
    level: Level


Signature = frozenset[str]
"""The names of the sets that contain a number."""


@dataclass(frozen=True, slots=True)
class _Class:
    """The numbers that lie in the same sets."""

    signature: Signature
    spans: Intervals

    @property
    def example(self) -> int:
        return self.spans[0][0]


def duties(
    policy: Policy, space: Space, surroundings: Surroundings, direction: Direction
) -> list[tuple[Duty, int]]:
    """Return what the document requires of all TCP connections of one direction.

    The sets do not contain flows that the document leaves open.

    Args:
        policy: The pod's policy.
        space: The packets of one IP version.
        surroundings: The pod.
        direction: Seen from the pod.
    """
    domain, bdd = Domain(space, surroundings), space.bdd
    addresses = _classes(_address_sets(policy, space.family, surroundings), _width(space.family))
    ports = _classes(_port_sets(policy), 16)
    users = _classes({"sidecar": ((SIDECAR_UID, SIDECAR_UID),)}, 32)
    devices = _devices(policy, space, surroundings)
    sets = {
        id(one): domain.only(name, one.spans)
        for name, classes in (
            (Field.DESTINATION, addresses),
            (Field.PORT, ports),
            (Field.UID, users),
            (Field.IN, devices),
        )
        for one in classes
    }
    every = domain.of(direction)
    addresses = [one for one in addresses if bdd.both(every, sets[id(one)]) != NONE]
    found: dict[Duty, int] = {}
    for place, user, device in product(addresses, users, devices):
        by_port: dict[Duty, list[int]] = {}
        for port in ports:
            flow = Flow(
                direction,
                Address(text_of(place.example, space.family), port.example),
                uid=user.example if direction is Direction.OUTBOUND else None,
                interface=space.interfaces[device.example],
            )
            signature = place.signature | port.signature | user.signature | device.signature
            duty = duty_of(policy, flow, signature, surroundings.texts())
            if duty is not None:
                by_port.setdefault(duty, []).append(sets[id(port)])
        for duty, some in by_port.items():
            flows = bdd.both(bdd.union(some), sets[id(place)])
            for one in (user, device):
                flows = bdd.both(sets[id(one)], flows)
            found[duty] = bdd.either(found.get(duty, NONE), flows)
    return list(found.items())


def mentioned(policy: Policy, family: int, surroundings: Surroundings) -> Iterator[Spans]:
    """Yield the numbers that the document and a policy mention, by field."""
    for spans in _address_sets(policy, family, surroundings).values():
        yield Field.DESTINATION, spans
    for spans in _port_sets(policy).values():
        yield Field.PORT, spans
    yield Field.UID, ((SIDECAR_UID, SIDECAR_UID),)


def duty_of(policy: Policy, flow: Flow, signature: Signature, own: Sequence[str]) -> Duty | None:
    """Return what the document requires of a flow, or None if it leaves the flow open.

    Args:
        policy: The pod's policy.
        flow: The flow.
        signature: The names of the sets that contain its parts.
        own: The pod's addresses.
    """
    sentence = _sentence(policy, flow.direction, signature)
    if sentence is None:
        return None
    return Duty(expected(policy, flow, own), *sentence)


def _sentence(
    policy: Policy, direction: Direction, signature: Signature
) -> tuple[str, Level] | None:
    if direction is Direction.INBOUND:
        return _inbound(signature)
    if "own" in signature or "loopback" in signature:
        return _inside(signature)
    return _outbound(policy, signature)


def _inbound(signature: Signature) -> tuple[str, Level]:
    if "interface" in signature:
        return "SPEC-12.5", Level.SHOULD
    if "served" in signature:
        return "SPEC-3.4", Level.MUST
    if "inbound list" in signature:
        closed = "sidecar's port" in signature
        return ("SPEC-3.7", Level.SHOULD) if closed else ("SPEC-11.1", Level.MUST)
    return ("SPEC-2.1", Level.MUST) if "primary" in signature else ("SPEC-2.4", Level.SHOULD)


def _inside(signature: Signature) -> tuple[str, Level] | None:
    sidecar = "sidecar" in signature
    reserved = "served" in signature or "sidecar's port" in signature
    if sidecar and reserved:
        return None  # SPEC-7.4 leaves it open
    if "own" in signature:
        return ("SPEC-7.4" if sidecar else "SPEC-7.3"), Level.SHOULD
    if "first loopback" in signature:
        return ("SPEC-6.1" if sidecar else "SPEC-7.1"), Level.MUST
    return None if sidecar else ("SPEC-7.2", Level.SHOULD)  # SPEC-7.6 leaves it open


def _outbound(policy: Policy, signature: Signature) -> tuple[str, Level]:
    included = "included" in signature
    if "sidecar" in signature:
        return "SPEC-4.1", Level.MUST
    if "interface" in signature:
        return "SPEC-12.5", Level.SHOULD
    if "excluded" in signature:
        return ("SPEC-12.3", Level.SHOULD) if included else ("SPEC-8.1", Level.MUST)
    if "outbound list" in signature:
        return ("SPEC-12.3", Level.SHOULD) if included else ("SPEC-10.1", Level.MUST)
    if policy.outbound_ip_range_inclusion_list:
        return ("SPEC-9.1" if included else "SPEC-9.2"), Level.MUST
    return "SPEC-1.1", Level.MUST


def signature_of(policy: Policy, flow: Flow, family: int, surroundings: Surroundings) -> Signature:
    """Return the names of the sets that contain the parts of a flow."""
    number = address(flow.destination.host)
    named = {
        name
        for name, spans in _address_sets(policy, family, surroundings).items()
        if contains(spans, number)
    }
    named |= {
        n for n, spans in _port_sets(policy).items() if contains(spans, flow.destination.port)
    }
    named |= {"sidecar"} if flow.uid == SIDECAR_UID else set()
    named |= {"interface"} if flow.interface in policy.network_interface_exclusion_list else set()
    return frozenset(named)


def _width(family: int) -> int:
    return 32 if family == 4 else 128


def _address_sets(policy: Policy, family: int, surroundings: Surroundings) -> dict[str, Intervals]:
    own = [a for owned in surroundings.own(family).values() for a in owned]
    first = 0x7F000001 if family == 4 else 1
    return {
        "own": joined((a, a) for a in own),
        "primary": joined((a, a) for a in own[:1]),
        "loopback": (LOOPBACK[family],),
        "first loopback": ((first, first),),
        "excluded": _spans(policy.outbound_ip_range_exclusion_list, family),
        "included": _spans(policy.outbound_ip_range_inclusion_list, family),
    }


def _spans(networks: Iterable[Network], family: int) -> Intervals:
    return joined(
        (int(network.network_address), int(network.broadcast_address))
        for network in networks
        if network.version == family
    )


def _port_sets(policy: Policy) -> dict[str, Intervals]:
    return {
        "outbound list": joined((p, p) for p in policy.outbound_port_exclusion_list),
        "inbound list": joined((p, p) for p in policy.inbound_port_exclusion_list),
        "served": joined((p, p) for p in SERVED_PORTS),
        "sidecar's port": joined((p, p) for p in _SIDECARS),
    }


def _devices(policy: Policy, space: Space, surroundings: Surroundings) -> list[_Class]:
    listed = policy.network_interface_exclusion_list
    numbers = {
        name: ((space.index(name), space.index(name)),)
        for name in space.interfaces
        if name in listed
    }
    some = joined(span for spans in numbers.values() for span in spans)
    last = len(space.interfaces) - 1
    width = space.width(Field.IN)
    rest = [(low, min(high, last)) for low, high in outside(some, width) if low <= last]
    del surroundings
    plain = _Class(frozenset(), joined((max(low, 1), high) for low, high in rest))
    return [plain, *([_Class(frozenset({"interface"}), some)] if some else [])]


def _classes(sets: Mapping[str, Intervals], width: int) -> list[_Class]:
    """Divide all numbers of a width into classes that lie in the same sets."""
    cuts = {0, *(low for s in sets.values() for low, _ in s)}
    cuts |= {high + 1 for s in sets.values() for _, high in s if high + 1 < 1 << width}
    starts = sorted(cuts)
    found: dict[Signature, list[tuple[int, int]]] = {}
    for low, high in _pieces(starts, (1 << width) - 1):
        signature = frozenset(name for name, spans in sets.items() if _lies_in(spans, low))
        found.setdefault(signature, []).append((low, high))
    return [_Class(signature, joined(spans)) for signature, spans in found.items()]


def _pieces(starts: Sequence[int], last: int) -> Iterator[tuple[int, int]]:
    ends = [*(start - 1 for start in starts[1:]), last]
    return zip(starts, ends, strict=True)


def _lies_in(spans: Intervals, number: int) -> bool:
    at = bisect_right(spans, (number, 1 << 200)) - 1
    return at >= 0 and number <= spans[at][1]
