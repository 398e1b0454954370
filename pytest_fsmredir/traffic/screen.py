"""Send the first packets of many TCP flows, and find those that do not take a given route.

A first packet costs a fraction of a connection. A raw socket in each namespace receives every
segment that the kernel delivers there, after all rules. So it shows where a first packet arrived,
and what the kernel of the receiver answered.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from pytest_fsmredir.model.flow import Address, Route
from pytest_fsmredir.model.reserved import ANY, INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.traffic.burst import Burst
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

_FIRST = 0x5C000000  # sequence number of the first packet
_STEP = 1 << 8  # from one sequence number to the next
_ANSWERS = (SYN | ACK, RST | ACK)
_MANY = 4 * AT_ONCE  # segments that an ear reads at a time; a flow causes three at most
_IPV6_RECVPKTINFO = 49  # linux/in6.h
_PLAIN_V4 = 0x45  # first byte of an IPv4 header without options

# What an ear receives. IPv4: the IP header, and the TCP header up to its flags. IPv6: the sender
# (struct sockaddr_in6), a control message (cmsg(3)) with the receiver, and the same of TCP.
_RECEIVED_V4 = struct.Struct("!B11x12sIIxB2x")
_RECEIVED_V6 = struct.Struct("!8x16s24x16s8x4sIIxB2x")

Owner = tuple[int, int]
"""The user and the group that own a socket."""

Sender = Callable[[Owner], socket.socket]
"""Returns a new socket of an owner that sends whole packets."""

Segment = tuple[bytes, int, int, int]
"""Addresses and ports, sequence number, acknowledgement number and flags of a TCP segment."""


class Ear:
    """A raw socket that receives every TCP segment of a namespace; it hears from now on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._is_v6 = sock.family == socket.AF_INET6
        if self._is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            self._burst = Burst(_MANY, name=32, control=40, packet=16)
        else:
            self._burst = Burst(_MANY, packet=_RECEIVED_V4.size)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def segments(self) -> Iterator[Segment]:
        """Yield what arrived since the last call; segments with IPv4 options are left out."""
        for slots in self._burst.received(self._sock):
            if self._is_v6:
                for sender, receiver, ports, seq, ack, flags in _RECEIVED_V6.iter_unpack(slots):
                    yield sender + receiver + ports, seq, ack, flags
            else:
                for first, ends, seq, ack, flags in _RECEIVED_V4.iter_unpack(slots):
                    if first == _PLAIN_V4:
                        yield ends, seq, ack, flags

    def close(self) -> None:
        """Stop hearing."""
        self._sock.close()


class FirstPackets:
    """First packets from one address; they differ in their ports, numbers and destinations.

    Attributes:
        burst: The packets.
    """

    def __init__(self, source: str) -> None:
        family = Address(source, 0).family
        sample = unlike(seq=0)(Address(source, 0), Address(ANY[family], 0))
        self._family, size = address_family(family), 4 if family == 4 else 16
        head = sample.raw[: -len(sample.body) - size]
        # The start and the end of struct sockaddr_in (ip(7)) and struct sockaddr_in6 (ipv6(7)).
        name = struct.pack("=HH", self._family, 0) + bytes(0 if family == 4 else 4)
        rest = bytes(8 if family == 4 else 4)
        before, after = rest + head, sample.body[18:]
        self._source, self._name = head[-size:], name
        self._before, self._middle, self._after = before, sample.body[8:16], after
        self._sum = 0xFFFF - int.from_bytes(sample.body[16:18], "big")
        self._slot = struct.Struct(f"!{len(name)}s{size}s{len(before)}s{size}sHHI8sH{len(after)}s")
        self._ends = slice(len(name + before), len(name + before) + 2 * size + 4)
        named = len(name + rest) + size
        self.burst = Burst(AT_ONCE, name=named, packet=self._slot.size - named)

    def fill(
        self, numbers: Sequence[int], destinations: Sequence[Address]
    ) -> tuple[list[bytes], list[bytes]]:
        """Make first packets, and return the addresses and ports of each and of its answer.

        Args:
            numbers: The sequence number of each.
            destinations: The destination of each.
        """
        pack, source, known = self._slot.pack, self._source, ""
        slots, there, back = list[bytes](), list[bytes](), list[bytes]()
        for number, (host, port) in zip(numbers, destinations, strict=True):
            if host != known:
                known, packed = host, socket.inet_pton(self._family, host)
                words = self._sum + sum(struct.unpack(f"!{len(packed) // 2}H", packed))
            own = _SOURCE_PORTS[(number >> 8) % len(_SOURCE_PORTS)]
            total = words + own + port + (number >> 16) + (number & 0xFFFF)
            slot = pack(
                self._name, packed, self._before, packed, own, port, number, self._middle,
                0xFFFF - total % 0xFFFF, self._after,
            )  # fmt: skip
            slots.append(slot)
            ends = slot[self._ends]
            there.append(ends)
            back.append(packed + source + ends[-2:] + ends[-4:-2])
        self.burst.fill(slots)
        return there, back


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
        sender: Sender,
        near: Ear,
        far: Ear | None,
    ) -> None:
        """Prepare to compare.

        Args:
            route: The route.
            packets: What is sent.
            sender: Makes the sockets that send.
            near: Hears at the source.
            far: Hears at the destinations; None if this is the source.
        """
        self._packets, self._sender, self._near = packets, sender, near
        self._ears = [near] if far is None else [near, far]
        self._listener = _LISTENERS.get(route)
        self._arrival = near if route is Route.SIDECAR_OUTBOUND or far is None else far
        self._answer = SYN | ACK if self._listener else RST | ACK
        self._next = _FIRST
        self._open: dict[Owner, socket.socket] = {}

    def odd(self, destinations: Sequence[Address], owners: Iterable[Owner]) -> list[int]:
        """Send first packets, and return the positions of those not seen to take the route.

        Such a flow may take the route all the same: its packet was late, or somebody listens.

        Args:
            destinations: One for each packet, at most :data:`AT_ONCE`.
            owners: The user and the group that send each.
        """
        numbers = range(self._next, self._next + len(destinations) * _STEP, _STEP)
        self._next = numbers.stop
        there, back = self._packets.fill(numbers, destinations)
        arrivals = dict(zip(numbers, there, strict=True))
        if self._listener:
            arrivals = dict.fromkeys(numbers, self._listener)
        answers = dict(zip(numbers, back, strict=True))
        self._send(owners)
        odd = self._compared(arrivals, answers)
        while (arrivals or answers) and self._waited():
            odd |= self._compared(arrivals, answers)
        odd |= arrivals.keys() | answers.keys()
        return [position for position, number in enumerate(numbers) if number in odd]

    def close(self) -> None:
        """Close the socket that sends."""
        for sock in self._open.values():
            sock.close()
        self._open.clear()

    def _send(self, owners: Iterable[Owner]) -> None:
        """Send one packet of each owner."""
        first = 0
        for owner, group in groupby(owners):
            if owner not in self._open:
                self.close()
                self._open[owner] = self._sender(owner)
            count = sum(1 for _ in group)
            self._packets.burst.send(self._open[owner], range(first, first + count))
            first += count

    def _compared(self, arrivals: dict[int, bytes], answers: dict[int, bytes]) -> set[int]:
        """Remove the packets that have arrived, and return the numbers of unexpected ones.

        Args:
            arrivals: The end of the addresses and ports of each first packet where it arrives.
            answers: Those of each answer.
        """
        odd = set[int]()
        for ear in self._ears:
            arrives_here, answers_here = ear is self._arrival, ear is self._near
            for ends, number, acknowledged, flags in ear.segments():
                if flags == SYN:
                    wanted = arrivals.pop(number, None)
                    if wanted is None or not (arrives_here and ends.endswith(wanted)):
                        odd.add(number)
                elif flags in _ANSWERS:
                    wanted = answers.pop(acknowledged - 1, None)
                    if ends != wanted or not answers_here or flags != self._answer:
                        odd.add(acknowledged - 1)
        return odd

    def _waited(self) -> bool:
        """Wait for a further packet, and return whether one has come."""
        poll = select.poll()
        for ear in self._ears:
            poll.register(ear.fileno(), select.POLLIN)
        return bool(poll.poll(_PATIENCE_MS))
