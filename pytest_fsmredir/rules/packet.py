"""Single packets, and the set of packets that can occur in a pod."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.rules.bdd import ALL, Intervals, joined, outside
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.partition import Spans
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import Routing, RuleSet
from pytest_fsmredir.rules.space import LOOPBACK, Environment, Space
from pytest_fsmredir.rules.vocabulary import NEW

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN: Final = 1
SYN: Final = 2
RST: Final = 4
PSH: Final = 8
ACK: Final = 16
URG: Final = 32
APPLICATION_UID: Final = 1000
_IDS: Final = (0, 2**32 - 2)  # the highest number means "no user" (chown(2))
_TTLS: Final = (1, 255)
_PORTS: Final = (1, 65535)
_LENGTHS: Final = (40, 65535)

_NOT_DIALLED: Final[Mapping[int, Intervals]] = {
    4: ((0, 0x00FFFFFF), (0xE0000000, 0xEFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)),
    6: ((0, 0), (0xFFFF << 32, (0x10000 << 32) - 1), (0xFF << 120, (1 << 128) - 1)),
}
"""Not TCP destinations: this network, multicast, broadcast, IPv4-mapped addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a flow, as the pod's rules see it.

    Attributes:
        direction: Seen from the pod.
        family: 4 or 6.
        source: Source address, as a number.
        destination: Destination address, as a number.
        interface: The incoming or outgoing interface.
        protocol: The IANA protocol number.
        tos: The whole TOS or traffic class byte: DSCP and ECN.
        length: The length of the IP packet, in bytes.
        state: The state of its connection, as one of the bits of the vocabulary.
    """

    direction: Direction
    family: int
    source: int
    destination: int
    source_port: int = 40000
    port: int = 0
    interface: str = "eth0"
    protocol: int = TCP
    uid: int = APPLICATION_UID
    gid: int = 0
    mark: int = 0
    tos: int = 0
    ttl: int = 64
    length: int = 60
    tcp_flags: int = SYN
    icmp_type: int = 0
    icmp_code: int = 0
    fragment: int = 0
    link_type: int = 0
    state: int = NEW

    def fields(self, space: Space) -> dict[Field, int]:
        """Return the value of each field."""
        return {
            Field.IN: space.index(self.interface),
            **{name: getattr(self, attribute) for name, attribute in ATTRIBUTES.items()},
        }

    def __str__(self) -> str:
        words = [f"{protocol_name(self.protocol)} from {self._end(self.source, self.source_port)}"]
        words.append(f"to {self._end(self.destination, self.port)}")
        if self.direction is Direction.OUTBOUND:
            words.append(f"by uid {self.uid}" + (f", gid {self.gid}" if self.gid else ""))
        return " ".join([*words, *self.unusual()])

    def unusual(self) -> list[str]:
        """Describe how the packet differs from a plain one."""
        names = {
            "interface": "interface {}", "mark": "mark {:#x}", "tos": "tos {:#x}",
            "ttl": "ttl {}", "length": "length {}", "fragment": "later fragment",
            "link_type": "link type {}",
        }  # fmt: skip
        if self.protocol == TCP:
            names["tcp_flags"] = "tcp flags {:#x}"
        if self.protocol in {ICMP, ICMPV6}:
            names |= {"icmp_type": "type {}", "icmp_code": "code {}"}
        state = [] if self.state == NEW else ["of no connection"]
        return state + [
            words.format(getattr(self, name))
            for name, words in names.items()
            if getattr(self, name) != USUAL[name]
            and not (name == "length" and self.family == 6 and self.length == 80)
        ]

    def _end(self, address: int, port: int) -> str:
        host = text_of(address, self.family)
        if self.protocol not in {TCP, UDP, 33, 132, 136}:
            return host
        return f"[{host}]:{port}" if self.family == 6 else f"{host}:{port}"


def headers_of(protocol: int, family: int) -> int:
    """Return the length of what precedes the payload of a datagram or an echo request of ours.

    An echo request has a token of 8 bytes behind its header.
    """
    return {UDP: 8, ICMP: 16, ICMPV6: 16}[protocol] + (20 if family == 4 else 40)


ATTRIBUTES: Final[Mapping[Field, str]] = {
    Field.PROTOCOL: "protocol", Field.SOURCE: "source", Field.DESTINATION: "destination",
    Field.SOURCE_PORT: "source_port", Field.PORT: "port", Field.UID: "uid", Field.GID: "gid",
    Field.MARK: "mark", Field.TOS: "tos", Field.TTL: "ttl", Field.LENGTH: "length",
    Field.TCP_FLAGS: "tcp_flags", Field.ICMP_TYPE: "icmp_type", Field.ICMP_CODE: "icmp_code",
    Field.FRAGMENT: "fragment", Field.LINK_TYPE: "link_type",
}  # fmt: skip

USUAL: Final[Mapping[str, object]] = {
    "interface": "eth0", "mark": 0, "tos": 0, "ttl": 64, "length": 60, "fragment": 0,
    "link_type": 0, "tcp_flags": SYN, "icmp_type": 0, "icmp_code": 0,
}  # fmt: skip


_PLAIN: Final[Mapping[Field, int]] = {
    Field.GID: 0, Field.MARK: 0, Field.TOS: 0, Field.TTL: 64, Field.ICMP_CODE: 0,
    Field.FRAGMENT: 0, Field.LINK_TYPE: 0,
}  # fmt: skip
"""The values that usual packets have in fields of which the document says nothing.

The source port is not among them: an answer has it as its destination port."""


def unseen(*every: RuleSet) -> dict[Field, int]:
    """Return usual values of the fields that no rule reads or writes.

    Packets that differ in these fields alone have the same fate, so one value stands for all.
    """
    mentioned = frozenset[Field]().union(*(rules.mentioned() for rules in every))
    return {name: number for name, number in _PLAIN.items() if name not in mentioned}


def protocol_name(number: int) -> str:
    """Return the usual name of a protocol."""
    names = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}
    return names.get(number, f"protocol {number}")


def text_of(address: int, family: int) -> str:
    """Return an address as text."""
    return str(IPv4Address(address) if family == 4 else IPv6Address(address))


def environment(
    space: Space, direction: Direction, given: Mapping[Field, int], state: int = NEW
) -> Environment:
    """Return the fields of packets before they pass any rule.

    Args:
        space: The packets of one IP version.
        direction: Their direction, seen from the pod.
        given: Fields with a fixed value; every other field can have any value.
        state: The state of their connections.
    """
    at: Environment = {}
    for name in (Field.IN, *ATTRIBUTES):
        at[name] = space.constant(name, given[name]) if name in given else space.symbol(name)
    outbound = direction is Direction.OUTBOUND
    none = space.constant(Field.IN, 0)
    at[Field.IN], at[Field.OUT] = (none, at[Field.IN]) if outbound else (at[Field.IN], none)
    fixed = {
        Field.HAS_SOCKET: int(outbound), Field.CONNECTION_MARK: 0, Field.STATE: state,
        Field.REPLY: 0, Field.TRANSLATED: 0, Field.FAMILY: space.family, Field.TPROXY_PORT: 0,
    }  # fmt: skip
    for name, number in fixed.items():
        at[name] = space.constant(name, number)
    at[Field.FIRST_SOURCE], at[Field.FIRST_DESTINATION] = at[Field.SOURCE], at[Field.DESTINATION]
    at[Field.FIRST_SOURCE_PORT], at[Field.FIRST_PORT] = at[Field.SOURCE_PORT], at[Field.PORT]
    return at


def domain_spans(family: int, surroundings: Surroundings) -> Iterator[Spans]:
    """Yield the numbers by which :class:`Domain` selects packets, by field."""
    own = [(a, a) for owned in surroundings.own(family).values() for a in owned]
    special = [(a, a) for a in (*surroundings.reserved, *surroundings.broadcast)]
    yield Field.DESTINATION, (*_NOT_DIALLED[family], *surroundings.local(family), *own, *special)
    yield Field.UID, (_IDS, (APPLICATION_UID, APPLICATION_UID))
    yield Field.GID, (_IDS, (0, 0))
    yield Field.TTL, (_TTLS,)
    yield Field.PORT, (_PORTS,)
    yield Field.LENGTH, (_LENGTHS,)
    yield Field.PROTOCOL, tuple((n, n) for n in (TCP, UDP, ICMP, ICMPV6))


class Domain:
    """The packets that can occur in a pod, to which the document applies."""

    def __init__(self, space: Space, surroundings: Surroundings) -> None:
        self._space, self._pod = space, surroundings
        self._family = space.family

    def only(self, name: Field, spans: Intervals) -> int:
        """Return the packets whose field initially lies in the intervals."""
        return self._space.within(name, self._space.symbol(name), spans)

    def of(self, direction: Direction) -> int:
        """Return the packets of one direction, of any protocol."""
        usual = self._all(
            [
                self.only(Field.UID, (_IDS,)),
                self.only(Field.GID, (_IDS,)),
                self.only(Field.TTL, (_TTLS,)),
                self.only(Field.SOURCE_PORT, (_PORTS,)),
                self.only(Field.PORT, (_PORTS,)),
                self.only(Field.LENGTH, (_LENGTHS,)),
                self.only(Field.FRAGMENT, ((0, 0),)),
                self.only(Field.LINK_TYPE, ((0, 0),)),
            ]
        )
        way = self._leaving() if direction is Direction.OUTBOUND else self._entering()
        return self._space.bdd.both(usual, way)

    def likely(self, direction: Direction, routing: Routing) -> int:
        """Return the packets that use the interface of their own address and of their route."""
        bdd, own = self._space.bdd, Field.DESTINATION
        if direction is Direction.OUTBOUND:
            own = Field.SOURCE
        devices = self._pod.own(self._family)
        homes = [
            self._all([self._interfaces([name]), self.only(own, joined((a, a) for a in owned))])
            for name, owned in devices.items()
        ]
        if direction is Direction.INBOUND:
            return bdd.union(homes)
        found, left = self._interfaces(["lo"]), ALL
        routes = routing.tables.get("main", ())
        for route in sorted(routes, key=lambda r: r.destination[1] - r.destination[0]):
            some = bdd.both(left, self.only(Field.DESTINATION, (route.destination,)))
            left = bdd.minus(left, some)
            if route.interface in devices:
                home = homes[list(devices).index(route.interface)]
                found = bdd.either(found, bdd.both(some, home))
        return found

    def opening(self) -> int:
        """Return the TCP packets that open a connection: SYN without ACK, RST and FIN."""
        syn = self._space.symbol(Field.TCP_FLAGS)
        first = self._space.within(
            Field.TCP_FLAGS,
            tuple(b if i in {3, 5, 6, 7} else 0 for i, b in enumerate(syn)),
            ((SYN, SYN),),
        )
        first = self._space.bdd.both(first, self.only(Field.PROTOCOL, ((TCP, TCP),)))
        broadcast = joined((a, a) for a in self._pod.broadcast)
        if self._family == 6 or not broadcast:
            return first
        return self._space.bdd.minus(first, self.only(Field.DESTINATION, broadcast))

    def _all(self, sets: Iterable[int]) -> int:
        found = ALL
        for one in sets:
            found = self._space.bdd.both(found, one)
        return found

    def _interfaces(self, names: Iterable[str]) -> int:
        numbers = [self._space.index(name) for name in names]
        return self._space.bdd.union(self.only(Field.IN, ((n, n),)) for n in numbers)

    def _own(self) -> Intervals:
        owned = self._pod.own(self._family).values()
        return tuple(sorted((a, a) for addresses in owned for a in addresses))

    def _not_dialled(self) -> Intervals:
        reserved = [(a, a) for a in self._pod.reserved] if self._family == 6 else []
        return joined([*_NOT_DIALLED[self._family], *reserved])

    def _leaving(self) -> int:
        bdd, loopback = self._space.bdd, (LOOPBACK[self._family],)
        local = self._pod.local(self._family)
        width = 32 if self._family == 4 else 128
        to_self, to_loop = (
            self.only(Field.DESTINATION, self._own()),
            self.only(Field.DESTINATION, loopback),
        )
        remote = bdd.minus(
            self.only(Field.DESTINATION, outside(local, width)),
            self.only(Field.DESTINATION, self._not_dialled()),
        )
        others = self._interfaces(n for n in self._space.interfaces if n not in {"", "lo"})
        by_lo = self._interfaces(["lo"])
        inside = bdd.both(by_lo, bdd.either(to_self, to_loop))
        return bdd.either(
            bdd.both(inside, self.only(Field.SOURCE, local)),
            self._all([remote, others, self.only(Field.SOURCE, self._own())]),
        )

    def _entering(self) -> int:
        bdd = self._space.bdd
        width = 32 if self._family == 4 else 128
        local = self._pod.local(self._family)
        remote = bdd.minus(
            self.only(Field.SOURCE, outside(local, width)),
            self.only(Field.SOURCE, _NOT_DIALLED[self._family]),
        )
        return self._all(
            [
                remote,
                self.only(Field.DESTINATION, self._own()),
                self._interfaces(n for n in self._space.interfaces if n not in {"", "lo"}),
                self.only(Field.MARK, ((0, 0),)),
                self.only(Field.UID, ((APPLICATION_UID, APPLICATION_UID),)),
                self.only(Field.GID, ((0, 0),)),
            ]
        )


__all__ = [
    "APPLICATION_UID", "ATTRIBUTES", "ICMP", "ICMPV6", "SIDECAR_UID", "SYN", "TCP", "UDP", "USUAL",
    "Domain", "Packet", "domain_spans", "environment", "protocol_name", "text_of", "unseen",
]  # fmt: skip
