"""Send the first packets of many TCP flows, and find those that do not take a given route.

A first packet costs a fraction of a connection. A raw socket in each namespace receives every
segment that the kernel delivers there, after all rules. So it shows where a first packet arrived,
and what the kernel of the receiver answered.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from pytest_fsmredir.model.flow import Address, Route
from pytest_fsmredir.model.reserved import ANY, INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.traffic.forge import ACK, RST, SYN
from pytest_fsmredir.traffic.sockets import address_family
from pytest_fsmredir.traffic.syns import unlike

AT_ONCE = 64
"""First packets that are sent before their answers are read; the default buffers hold them."""

_LISTENERS = {
    Route.SIDECAR_OUTBOUND: struct.pack("!H", OUTBOUND_PORT),
    Route.SIDECAR_INBOUND: struct.pack("!H", INBOUND_PORT),
}
_SOURCE_PORTS = range(32768, 60999)  # those that Linux gives to clients
_PATIENCE_MS = 20
"""How long a late packet may take: a flow that is not seen in time is judged by a connection."""

_FIRST = 0x5C000000  # sequence number of the first packet; the next ones differ by 256
_ANSWERS = (SYN | ACK, RST | ACK)
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50  # linux/in6.h
_LONGEST = 128
_PLAIN_V4 = 0x45  # first byte of an IPv4 header without options


Owner = tuple[int, int]
"""The user and the group that own a socket."""

Send = Callable[[int, bytes, str], object]
"""Sends a packet; its arguments are its position, itself and its destination."""


class Ear:
    """A raw socket that receives every TCP segment of a namespace; it hears from now on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._next = self._next_v4
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            self._next = self._next_v6

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def segments(self) -> list[bytes]:
        """Return what arrived since the last call: addresses, and TCP headers up to their flags."""
        segments: list[bytes] = []
        with suppress(BlockingIOError):
            while True:
                segments.append(self._next())
        return segments

    def close(self) -> None:
        """Stop hearing."""
        self._sock.close()

    def _next_v4(self) -> bytes:
        packet = self._sock.recv(_LONGEST)
        if packet[0] == _PLAIN_V4:
            return packet[12:34]
        start = (packet[0] & 15) * 4
        return packet[12:20] + packet[start : start + 14]

    def _next_v6(self) -> bytes:
        segment, ancillary, _, sender = self._sock.recvmsg(_LONGEST, 64)
        receiver = next(
            (data[:16] for level, kind, data in ancillary if kind == _IPV6_PKTINFO), b""
        )
        return socket.inet_pton(socket.AF_INET6, sender[0]) + receiver + segment[:14]


class FirstPacket(NamedTuple):
    """A first packet, and how it and its answer are recognised.

    Attributes:
        to: Its destination.
        raw: The whole packet.
        there: Its addresses and ports.
        back: The addresses and ports of the answer.
    """

    to: Address
    raw: bytes
    there: bytes
    back: bytes


class FirstPackets:
    """First packets from one address; they differ in their ports, numbers and destinations."""

    def __init__(self, source: str) -> None:
        family = Address(source, 0).family
        sample = unlike(seq=0)(Address(source, 0), Address(ANY[family], 0))
        self._family, size = address_family(family), 4 if family == 4 else 16
        self._head = sample.raw[: -len(sample.body) - size]
        self._source, self._middle, self._end = (
            self._head[-size:], sample.body[8:16], sample.body[18:],
        )  # fmt: skip
        self._sum = 0xFFFF - int.from_bytes(sample.body[16:18], "big")
        self._hosts: dict[str, tuple[bytes, int]] = {}

    def packet(self, sequence: int, to: Address) -> FirstPacket:
        """Return a first packet with a sequence number."""
        host, words = self._packed(to.host)
        own = _SOURCE_PORTS[(sequence >> 8) % len(_SOURCE_PORTS)]
        total = self._sum + words + own + to.port + (sequence >> 16) + (sequence & 0xFFFF)
        head = struct.pack("!HHI", own, to.port, sequence)
        end = struct.pack("!H", 0xFFFF - total % 0xFFFF) + self._end
        raw = self._head + host + head + self._middle + end
        back = host + self._source + head[2:4] + head[:2]
        return FirstPacket(to, raw, self._source + host + head[:4], back)

    def _packed(self, host: str) -> tuple[bytes, int]:
        """Return an address and the sum of its words."""
        if host not in self._hosts:
            packed = socket.inet_pton(self._family, host)
            self._hosts[host] = packed, sum(struct.unpack(f"!{len(packed) // 2}H", packed))
        return self._hosts[host]


class Screen:
    """Compares what happens to first packets with what a route does to them.

    Direct: the packet arrives at the far end unchanged, and the far end, where nobody listens,
    refuses it. Captured: it arrives at the sidecar's listener in the pod, and the answer seems to
    come from the dialled address and port. The kernel derives this address from the same entry of
    connection tracking as the original destination that it tells the sidecar.
    """

    def __init__(
        self,
        route: Route,
        packets: FirstPackets,
        near: Ear,
        far: Ear | None,
    ) -> None:
        """Prepare to compare.

        Args:
            route: The route.
            packets: What is sent.
            near: Hears at the source.
            far: Hears at the destinations; None if this is the source.
        """
        self._packets, self._near, self._far = packets, near, far
        self._listener = _LISTENERS.get(route)
        self._arrival = near if route is Route.SIDECAR_OUTBOUND or far is None else far
        self._answer = SYN | ACK if self._listener else RST | ACK
        self._sequence = count(_FIRST, 1 << 8)
        self._arrivals: dict[bytes, list[tuple[Ear, bytes]]] = {}
        self._answers: dict[bytes, list[tuple[Ear, int, bytes]]] = {}

    def odd(self, destinations: Iterable[Address], send: Send) -> list[int]:
        """Send first packets, and return the positions of those not seen to take the route.

        Such a flow may take the route all the same: its packet was late, or somebody listens.

        Args:
            destinations: One for each packet.
            send: Sends the packet of a position to a host.
        """
        sent = {
            number: self._packets.packet(number, to)
            for to, number in zip(destinations, self._sequence, strict=False)
        }
        self._arrivals = {struct.pack("!I", n): [] for n in sent}
        self._answers = {struct.pack("!I", n + 1): [] for n in sent}
        for position, packet in enumerate(sent.values()):
            with suppress(OSError):  # then the packet does not arrive
                send(position, packet.raw, packet.to.host)
        odd = self._unexplained(sent)
        while odd and self._waited():
            odd = self._unexplained(odd)
        return [position for position, number in enumerate(sent) if number in odd]

    def _waited(self) -> bool:
        """Wait for a further packet, and return whether one has come."""
        poll = select.poll()
        for ear in self._ears:
            poll.register(ear.fileno(), select.POLLIN)
        return bool(poll.poll(_PATIENCE_MS))

    @property
    def _ears(self) -> list[Ear]:
        return [self._near] if self._far is None else [self._near, self._far]

    def _unexplained(self, sent: dict[int, FirstPacket]) -> dict[int, FirstPacket]:
        arrivals, answers = self._arrivals, self._answers
        for ear in self._ears:
            for segment in ear.segments():
                flags = segment[-1]
                if flags == SYN:
                    arrivals.get(segment[-10:-6], []).append((ear, segment[:-10]))
                elif flags in _ANSWERS:
                    answers.get(segment[-6:-2], []).append((ear, flags, segment[:-10]))
        return {n: packet for n, packet in sent.items() if not self._explained(n, packet)}

    def _explained(self, sequence: int, packet: FirstPacket) -> bool:
        arrivals = self._arrivals[struct.pack("!I", sequence)]
        answers = self._answers[struct.pack("!I", sequence + 1)]
        if len(arrivals) != 1 or answers != [(self._near, self._answer, packet.back)]:
            return False
        ((ear, ends),) = arrivals
        arrived = ends.endswith(self._listener) if self._listener else ends == packet.there
        return arrived and ear is self._arrival
