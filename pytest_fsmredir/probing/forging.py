"""Send packets that no socket can send, and watch the pod's link for their fate.

A usual packet follows each forged one. So a forged packet that does not pass is known as soon as
its follower passes, without a timeout.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from pytest_fsmredir.backends.base import Mesh, Pod
from pytest_fsmredir.backends.facets import ForgedPackets, Taps
from pytest_fsmredir.backends.pod_parts import Tap
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Address, Direction, Flow, Route
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.probing.sendable import SYN_LENGTH
from pytest_fsmredir.rules.packet import ICMP, ICMPV6, TCP, UDP, Packet, text_of
from pytest_fsmredir.traffic import forge, syns
from pytest_fsmredir.traffic.packet import Packet as Raw
from pytest_fsmredir.traffic.packet import changed_fields
from pytest_fsmredir.traffic.tap import PacketLog

_CLOSED: Final = 20024  # a port of the pod on which nothing listens
_FIRST: Final = 45000  # source port of the first forged packet
_AS_REQUIRED: Final = ""
_USED: Final = 8080  # a port on which the checks of every flow listen
_UNANSWERED_AT_MOST: Final = 2  # each one costs the whole time limit of a flow


@dataclass(frozen=True, slots=True)
class Means:
    """What the forger works with.

    Attributes:
        mesh: The mesh of the check.
        pod: The pod.
        taps: Shows the packets on the pod's link.
        forged: Sends packets made by hand.
        policy: The policy of the pod.
        interface: The pod's first interface, which the packets pass.
    """

    mesh: Mesh
    pod: Pod
    taps: Taps
    forged: ForgedPackets
    policy: Policy
    interface: str = "eth0"


class Forger:
    """Sends forged packets to and from one pod."""

    def __init__(self, means: Means) -> None:
        self._mesh, self._pod, self._policy = means.mesh, means.pod, means.policy
        self._taps, self._forged, self._first = means.taps, means.forged, means.interface
        self._ports = count(_FIRST)
        self._unanswered = 0

    def wrong(self, packet: Packet, route: Route) -> str | None:
        """Send one packet; return how it differs from the route that it must take.

        Returns:
            What was seen; empty if the packet took its route; None if it cannot be sent or judged.
        """
        if not self._can(packet):
            return None
        if packet.protocol == TCP:
            make = _made(packet)
            return None if make is None else self._try(packet, route, {"": make})
        return self._other(packet) if route is Route.DIRECT else None

    def wrong_header(self, packet: Packet, route: Route) -> str | None:
        """Send SYNs with each known kind of header; return how the first wrong one differs."""
        if not self._can(packet) or packet.protocol != TCP:
            return None
        made = {**syns.variations(packet.family), **syns.with_ip_options(packet.family)}
        return self._try(packet, route, made)

    def _can(self, packet: Packet) -> bool:
        """Whether the packet can be forged, and forged packets are still seen to pass."""
        plain = not packet.gid and not packet.mark and packet.interface == self._first
        return plain and self._unanswered < _UNANSWERED_AT_MOST

    def _try(self, packet: Packet, route: Route, made: dict[str, syns.Make]) -> str | None:
        outbound = packet.direction is Direction.OUTBOUND
        if not outbound and self._required(_closed(packet)) is not route:
            return None  # the packet that can be sent must take another route
        try:
            with self._taps.of(self._pod) as tap:
                for name, make in made.items():
                    one = self._leaves if outbound else self._enters
                    seen = one(tap, packet, make, direct=route is Route.DIRECT)
                    if seen:
                        return f"a SYN {name} {seen}".replace("  ", " ")
        except Unmet:  # the follower did not pass: the pod's usual flows are not as required
            self._unanswered += 1
            return None
        return _AS_REQUIRED

    def _leaves(self, tap: Tap, packet: Packet, make: syns.Make, *, direct: bool) -> str:
        """Send a SYN from the pod; return what is wrong if it passes or does not pass the link."""
        to = Address(text_of(packet.destination, packet.family), packet.port)
        source = self._own(packet)
        sent = make(source, to)
        self._forged.inject(self._pod, sent, uid=packet.uid)
        follower = self._follow(to)
        first = tap.expect("a SYN", lambda seen: seen.opens and seen.source in {source, follower})
        if first.source == follower:
            return "does not leave the pod" if direct else ""
        return "" if direct else "leaves the pod"

    def _enters(self, tap: Tap, packet: Packet, make: syns.Make, *, direct: bool) -> str:
        """Send a SYN to the pod; an answer that is not a refusal is the sidecar's."""
        closed = _closed(packet)
        silent = self._forged.silent_address()
        pair = [Address(silent, next(self._ports)) for _ in range(2)]
        for client, way in zip(pair, (make, syns.unlike()), strict=True):
            self._forged.inject(self._mesh.client, way(client, closed))
        # An answer to the second SYN of an earlier pair can still be on its way.
        answer = tap.expect(
            "an answer",
            lambda seen: seen.source == closed and not seen.opens and seen.destination in pair,
        )
        for client in pair:
            end = forge.tcp(client, closed, forge.RST, seq=1001)
            self._forged.inject(self._mesh.client, end)
        if answer.destination != pair[0]:
            return "is not answered"
        if answer.ends is direct:
            return ""
        return "is captured" if direct else "is not captured"

    def _required(self, to: Address) -> Route:
        """Return the route of a connection from outside to an address of the pod."""
        return expected(
            self._policy, Flow(Direction.INBOUND, to, interface=self._first), self._pod.addresses
        )

    def _follow(self, to: Address) -> Address:
        """Send a usual SYN of the sidecar, which leaves the pod (SPEC-4.1)."""
        source = Address(self._pod.address, next(self._ports))
        self._forged.inject(self._pod, syns.unlike()(source, to), uid=SIDECAR_UID)
        return source

    def _own(self, packet: Packet) -> Address:
        port = next(self._ports)
        chosen = port if packet.source_port == 40000 else packet.source_port
        return Address(text_of(packet.source, packet.family), chosen)

    def _other(self, packet: Packet) -> str | None:
        """Send a packet that is not TCP, and compare it with the one that passes."""
        sent = _other_packet(packet)
        if sent is None:
            return None
        try:
            if packet.direction is Direction.OUTBOUND:
                with self._taps.of(self._pod) as tap:
                    self._forged.inject(self._pod, sent, uid=packet.uid)
                    follower = self._follow(Address(sent.destination.host, 80))
                    return _passed(tap, sent, follower)
            with self._forged.receiving(self._pod, {packet.protocol, UDP}) as log:
                self._forged.inject(self._mesh.client, sent)
                follower = Address(sent.source.host, next(self._ports))
                here = Address(sent.destination.host, _CLOSED)
                self._forged.inject(self._mesh.client, forge.udp(follower, here, b"after"))
                return _passed(log, sent, follower)
        except Unmet:
            return None
        except OSError as error:
            if error.errno != errno.EPROTONOSUPPORT:
                raise
            return None  # no socket receives this protocol


def _closed(packet: Packet) -> Address:
    """Return where to send an inbound packet: a port on which no check listens."""
    port = _CLOSED if packet.port == _USED else packet.port
    return Address(text_of(packet.destination, packet.family), port)


def _passed(log: PacketLog | Tap, sent: Raw, follower: Address) -> str:
    """Return what is wrong with the packet that passes before its follower."""

    def either(seen: Raw) -> bool:
        ours = seen.source.host == sent.source.host and seen.number == sent.number
        return seen.source == follower or (ours and seen.source == sent.source)

    first = log.expect("a packet", either)
    if first.source == follower:
        return "it does not arrive"
    changed = changed_fields(sent, first)
    if not first.matches(sent):
        changed.append("another destination or content")
    return f"it has {', '.join(changed)}" if changed else ""


def _made(packet: Packet) -> syns.Make | None:
    """Return how to make the SYN of the model; None if its length has no such packet."""
    more = packet.length - SYN_LENGTH[packet.family]
    how = syns.unlike
    flags, urgent = packet.tcp_flags, int(bool(packet.tcp_flags & forge.URG))
    if more >= 0:
        return how(
            flags=flags, urgent=urgent, service=packet.tos, hops=packet.ttl, payload=bytes(more)
        )
    if more < -20 or more % 4:
        return None
    return how(
        flags=flags, urgent=urgent, service=packet.tos, hops=packet.ttl,
        options=bytes([1]) * (20 + more),
    )  # fmt: skip


def _other_packet(packet: Packet) -> Raw | None:
    """Return a packet of UDP, ICMP or another protocol with the properties of the model's."""
    source, to = (text_of(a, packet.family) for a in (packet.source, packet.destination))
    ends = Address(source, packet.source_port), Address(to, packet.port)
    head = 20 if packet.family == 4 else 40
    fields: forge.IpFields = {"hops": packet.ttl, "service": packet.tos}
    match packet.protocol:
        case 17 | 136:
            body = bytes(max(0, packet.length - head - 8))
            return forge.udp(*ends, body, protocol=packet.protocol, **fields)
        case protocol if protocol in {ICMP, ICMPV6}:
            rest = bytes(max(4, packet.length - head - 4))
            return forge.icmp(source, to, packet.icmp_type, packet.icmp_code, rest, **fields)
        case 132:
            plain = packet == replace(packet, tos=0, ttl=64)
            return forge.sctp(*ends) if plain else None
        case _:
            body = bytes(max(8, packet.length - head))
            return forge.ip(source, to, packet.protocol, body, **fields)
