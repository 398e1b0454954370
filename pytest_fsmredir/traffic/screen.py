"""Send the first packets of many TCP flows, and find those that do not take a given route.

A first packet costs a fraction of a connection. A raw socket in each namespace receives every
segment that the kernel delivers there, after all rules. So it shows where a first packet arrived,
and what the kernel of the receiver answered.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count

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

_SCREENED = 0x5C000000  # first sequence number; the number of a packet is in its bytes 2 and 3
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50  # linux/in6.h
_LONGEST = 128

Segment = tuple[bytes, bytes]
"""The addresses of the sender and the receiver, and the TCP header."""


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

    def segments(self) -> Iterator[Segment]:
        """Yield the segments that have arrived since the last call."""
        with suppress(BlockingIOError):
            while True:
                yield self._next()

    def close(self) -> None:
        """Stop hearing."""
        self._sock.close()

    def _next_v4(self) -> Segment:
        packet = self._sock.recv(_LONGEST)
        start = (packet[0] & 15) * 4
        return packet[12:20], packet[start : start + 20]

    def _next_v6(self) -> Segment:
        segment, ancillary, _, sender = self._sock.recvmsg(_LONGEST, 64)
        receiver = next(
            (data[:16] for level, kind, data in ancillary if kind == _IPV6_PKTINFO), b""
        )
        return socket.inet_pton(socket.AF_INET6, sender[0]) + receiver, segment[:20]


class FirstPackets:
    """First packets from one address; they differ in their ports, numbers and destinations."""

    def __init__(self, source: str) -> None:
        family = Address(source, 0).family
        sample = unlike(seq=0)(Address(source, 0), Address(ANY[family], 0))
        self._family, size = address_family(family), 4 if family == 4 else 16
        self._start = len(sample.raw) - len(sample.body)
        self._head, self._body = sample.raw[: self._start - size], sample.body
        self._source = self._head[-size:]
        self._sum = 0xFFFF - int.from_bytes(sample.body[16:18], "big")
        self._hosts: dict[str, bytes] = {}

    def packet(self, number: int, to: Address) -> bytes:
        """Return a first packet; its sequence number shows its number."""
        host, own, seq = self._packed(to.host), source_port(number), _SCREENED + (number << 8)
        words = sum(struct.unpack(f"!{len(host) // 2}H", host))
        total = self._sum + words + own + to.port + (seq >> 16) + (seq & 0xFFFF)
        start, checksum = struct.pack("!HHI", own, to.port, seq), 0xFFFF - total % 0xFFFF
        end = struct.pack("!H", checksum) + self._body[18:]
        return self._head + host + start + self._body[8:16] + end

    def there(self, number: int, to: Address) -> bytes:
        """Return the addresses and ports of a first packet."""
        ports = struct.pack("!HH", source_port(number), to.port)
        return self._source + self._packed(to.host) + ports

    def back(self, number: int, to: Address) -> bytes:
        """Return the addresses and ports of the answer to a first packet."""
        ports = struct.pack("!HH", to.port, source_port(number))
        return self._packed(to.host) + self._source + ports

    def _packed(self, host: str) -> bytes:
        if host not in self._hosts:
            self._hosts[host] = socket.inet_pton(self._family, host)
        return self._hosts[host]


def source_port(number: int) -> int:
    """Return the source port of a first packet: one that a client may have."""
    return _SOURCE_PORTS[number % len(_SOURCE_PORTS)]


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
        send: Callable[[bytes, str], object],
    ) -> None:
        """Prepare to compare.

        Args:
            route: The route.
            packets: What is sent.
            near: Hears at the source.
            far: Hears at the destinations; None if this is the source.
            send: Sends a packet from the source to a host.
        """
        self._send = send
        self._packets, self._near, self._far = packets, near, far
        self._listener = _LISTENERS.get(route)
        self._arrival = near if route is Route.SIDECAR_OUTBOUND or far is None else far
        self._answer = SYN | ACK if self._listener else RST | ACK
        self._numbers = count()
        self._arrivals: dict[int, list[tuple[Ear, bytes]]] = {}
        self._answers: dict[int, list[tuple[Ear, int, bytes]]] = {}

    def odd(self, destinations: Iterable[Address]) -> list[Address]:
        """Send first packets, and return the destinations that were not seen to take the route.

        Such a flow may take the route all the same: its packet was late, or somebody listens.
        """
        sent = dict(zip(self._numbers, destinations, strict=False))
        self._arrivals, self._answers = {n: [] for n in sent}, {n: [] for n in sent}
        for number, to in sent.items():
            with suppress(OSError):  # then the packet does not arrive
                self._send(self._packets.packet(number, to), to.host)
        odd = self._unexplained(sent)
        while odd and self._waited():
            odd = self._unexplained(odd)
        return list(odd.values())

    def _waited(self) -> bool:
        """Wait for a further packet, and return whether one has come."""
        poll = select.poll()
        for ear in self._ears:
            poll.register(ear.fileno(), select.POLLIN)
        return bool(poll.poll(_PATIENCE_MS))

    @property
    def _ears(self) -> list[Ear]:
        return [self._near] if self._far is None else [self._near, self._far]

    def _unexplained(self, sent: dict[int, Address]) -> dict[int, Address]:
        for ear in self._ears:
            for ends, header in ear.segments():
                self._note(ear, ends + header[:4], header)
        return {n: to for n, to in sent.items() if not self._explained(n, to)}

    def _note(self, ear: Ear, ends: bytes, header: bytes) -> None:
        sent, acknowledged = struct.unpack_from("!II", header, 4)
        flags = header[13]
        if flags == SYN:
            arrivals = self._arrivals.get((sent - _SCREENED) >> 8)
            if arrivals is not None:
                arrivals.append((ear, ends))
        elif flags in (SYN | ACK, RST | ACK):
            answers = self._answers.get((acknowledged - _SCREENED) >> 8)
            if answers is not None:
                answers.append((ear, flags, ends))

    def _explained(self, number: int, to: Address) -> bool:
        answer = (self._near, self._answer, self._packets.back(number, to))
        arrivals = self._arrivals[number]
        if len(arrivals) != 1 or self._answers[number] != [answer]:
            return False
        ((ear, ends),) = arrivals
        if self._listener is None:
            arrived = ends == self._packets.there(number, to)
        else:
            arrived = ends.endswith(self._listener)
        return arrived and ear is self._arrival
