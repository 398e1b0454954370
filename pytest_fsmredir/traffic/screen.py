"""Send the first packets of many TCP flows, and find those that do not take a given route.

A first packet costs a fraction of a connection. A raw socket in each namespace receives every
segment that the kernel delivers there, after all rules. So it shows where a first packet arrived,
and what the kernel of the receiver answered.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from pytest_fsmredir.model.flow import Address, Route
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.traffic.forge import ACK, RST, SYN
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

_SCREENED = 0x5C000000  # first sequence number; the port is in the two bytes before the last
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
    """First packets between two addresses that differ in their ports and sequence numbers."""

    def __init__(self, source: str, destination: str) -> None:
        sample = unlike(seq=0)(Address(source, 0), Address(destination, 0))
        self._family = socket.AF_INET if sample.source.family == 4 else socket.AF_INET6
        self._start = len(sample.raw) - len(sample.body)
        self._head, self._body = sample.raw[: self._start], sample.body
        self._sum = 0xFFFF - int.from_bytes(sample.body[16:18], "big")
        packed = [socket.inet_pton(self._family, host) for host in (source, destination)]
        self.there, self.back = b"".join(packed), b"".join(reversed(packed))

    def to(self, port: int) -> bytes:
        """Return the first packet to a port."""
        own, number = source_port(port), port << 8
        total = self._sum + own + port + (_SCREENED >> 16) + (number >> 16) + (number & 0xFFFF)
        checksum = 0xFFFF - (total % 0xFFFF)
        start, end = struct.pack("!HHI", own, port, _SCREENED + number), self._body[18:]
        return self._head + start + self._body[8:16] + struct.pack("!H", checksum) + end


def source_port(port: int) -> int:
    """Return the source port of the flow to a port: one that a client may have."""
    return _SOURCE_PORTS[port % len(_SOURCE_PORTS)]


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
        send: Callable[[bytes], object],
    ) -> None:
        """Prepare to compare.

        Args:
            route: The route.
            packets: What is sent.
            near: Hears at the source.
            far: Hears at the destination; None if this is the source.
            send: Sends a packet from the source.
        """
        self._send = send
        self._packets, self._near, self._far = packets, near, far
        self._listener = _LISTENERS.get(route)
        self._arrival = near if route is Route.SIDECAR_OUTBOUND or far is None else far
        self._answer = SYN | ACK if self._listener else RST | ACK
        self._seen: dict[int, list[tuple[Ear, bytes]]] = {}
        self._answers: dict[int, list[tuple[Ear, int, bytes]]] = {}

    def odd(self, ports: Sequence[int]) -> list[int]:
        """Send first packets, and return the ports of those that were not seen to take the route.

        Such a flow may take the route all the same: its packet was late, or somebody listens.
        """
        self._seen = {port: [] for port in ports}
        self._answers = {port: [] for port in ports}
        for port in ports:
            with suppress(OSError):  # then the packet does not arrive
                self._send(self._packets.to(port))
        odd = self._unexplained(ports)
        while odd and self._waited():
            odd = self._unexplained(odd)
        return odd

    def _waited(self) -> bool:
        """Wait for a further packet, and return whether one has come."""
        poll = select.poll()
        for ear in self._ears:
            poll.register(ear.fileno(), select.POLLIN)
        return bool(poll.poll(_PATIENCE_MS))

    @property
    def _ears(self) -> list[Ear]:
        return [self._near] if self._far is None else [self._near, self._far]

    def _unexplained(self, ports: Sequence[int]) -> list[int]:
        for ear in self._ears:
            for segment in ear.segments():
                self._note(ear, *segment)
        return [port for port in ports if not self._explained(port)]

    def _note(self, ear: Ear, ends: bytes, header: bytes) -> None:
        flags = header[13]
        sent, acknowledged = struct.unpack_from("!II", header, 4)
        if flags == SYN:
            heard = self._seen.get((sent - _SCREENED) >> 8)
            if heard is not None:
                heard.append((ear, ends + header[:4]))
        elif flags in (SYN | ACK, RST | ACK):
            answers = self._answers.get((acknowledged - _SCREENED) >> 8)
            if answers is not None:
                answers.append((ear, flags, ends + header[:4]))

    def _explained(self, port: int) -> bool:
        own, seen = source_port(port), self._seen[port]
        back = self._packets.back + struct.pack("!HH", port, own)
        if len(seen) != 1 or self._answers[port] != [(self._near, self._answer, back)]:
            return False
        ((ear, ends),) = seen
        if self._listener is None:
            arrived = ends == self._packets.there + struct.pack("!HH", own, port)
        else:
            arrived = ends.endswith(self._listener)
        return arrived and ear is self._arrival
