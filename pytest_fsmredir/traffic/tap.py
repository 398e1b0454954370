"""Capture packets on an interface, and wait for expected packets."""

from __future__ import annotations

import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from pytest_fsmredir.model.claims import Statement, Unmet
from pytest_fsmredir.traffic.engine import READABLE, Engine
from pytest_fsmredir.traffic.packet import (
    ETH_P_IP,
    ETH_P_IPV6,
    Packet,
    changed_fields,
    listed,
    parse,
)

ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/if_packet.h


class PacketLog(ABC):
    """A log of captured packets, to inspect and to wait on.

    Attributes:
        engine: The loop that drives the senders of the packets.
        timeout_s: How long an expected packet may take.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], where: str, engine: Engine, timeout_s: float
    ) -> None:
        """Start to read packets.

        Args:
            sockets: The sockets to read from.
            where: The place in words, for messages, such as "on the pod's link".
            engine: The loop that drives the senders of the packets.
            timeout_s: How long an expected packet may take.
        """
        self.engine, self.timeout_s = engine, timeout_s
        self._sockets, self._where = sockets, where
        self._unread: list[Packet] = []

    def packets(self) -> list[Packet]:
        """Return the packets that arrived since the last call, in order."""
        for sock in self._sockets:
            self._unread.extend(self._drain(sock))
        packets, self._unread = self._unread, []
        return packets

    def expect(self, what: str, wanted: Callable[[Packet], bool]) -> Packet:
        """Return the next wanted packet; skip the packets before it.

        Args:
            what: A description of the packet, for the message.
            wanted: Returns whether a packet is the expected one.

        Raises:
            Unmet: No such packet arrived in time.
        """
        position = self._found(what, wanted)
        packet = self._unread[position]
        self._unread = self._unread[position + 1 :]
        return packet

    def expect_unchanged(self, what: str, sent: Packet) -> None:
        """Wait for a packet, and compare every field of its IP header with the sent one.

        Args:
            what: A description of the packet, for the message.
            sent: The packet.

        Raises:
            Unmet: The packet did not arrive in time, or its header differs.
        """
        self._require_same(what, sent, self.expect(what, sent.matches))

    def expect_all_unchanged(self, sent: Iterable[tuple[str, Packet]]) -> None:
        """Wait for packets in any order, and compare each like :meth:`expect_unchanged`.

        Other packets that arrived before the last of them are skipped.

        Args:
            sent: A description of each packet, and the packet.

        Raises:
            Unmet: A packet did not arrive in time, or its header differs.
        """
        for what, packet in sent:
            position = self._found(what, partial(_is_it, packet))
            self._require_same(what, packet, self._unread.pop(position))
        self._unread.clear()

    def _found(self, what: str, wanted: Callable[[Packet], bool]) -> int:
        """Wait for a wanted packet, and return its position among the unread packets."""
        packets = self._unread

        def position() -> int | None:
            return next((n for n, packet in enumerate(packets) if wanted(packet)), None)

        found = position()
        if found is None:
            self._wait(lambda: position() is not None)
            found = position()
        if found is None:
            raise Unmet(Statement(False, f"{what} {self._where}", listed(packets)))
        return found

    def _require_same(self, what: str, sent: Packet, seen: Packet) -> None:
        changes = changed_fields(sent, seen)
        if changes:
            expected = f"{what} {self._where} as it was sent"
            raise Unmet(Statement(False, expected, ", ".join(changes)))

    def _wait(self, done: Callable[[], bool]) -> None:
        """Read packets until a condition holds or the time is over."""
        for sock in self._sockets:
            self.engine.watch(sock, READABLE, partial(self._read, sock))
        try:
            self.engine.pump(done, self.timeout_s)
        finally:
            for sock in self._sockets:
                self.engine.forget(sock)

    @abstractmethod
    def _drain(self, sock: socket.socket) -> Iterator[Packet]:
        """Yield the packets in a socket's queue."""

    def _read(self, sock: socket.socket, _events: int) -> None:
        self._unread.extend(self._drain(sock))


class PacketTap(PacketLog):
    """An AF_PACKET socket on one interface: packets of both directions."""

    def __init__(
        self, sock: socket.socket, engine: Engine, timeout_s: float, far_end: tuple[str, str]
    ) -> None:
        """Start to capture.

        Args:
            sock: The socket.
            engine: The loop that drives the senders of the packets.
            timeout_s: How long an expected packet may take.
            far_end: The interface's name, and the hardware address of the other end of its link.
        """
        super().__init__([sock], "on the pod's link", engine, timeout_s)
        self._sock = sock
        self._interface, self._far_end = far_end[0], bytes.fromhex(far_end[1].replace(":", ""))

    def deliver(self, packet: Packet) -> None:
        """Send a packet on the link to the other end, regardless of its IP addresses.

        The kernel does not show a packet to the socket that sent it (skb_loop_sk,
        linux/net/core/dev.c), so the tap does not see it.
        """
        ethertype = ETH_P_IPV6 if packet.destination.family == 6 else ETH_P_IP
        to = _group_hardware_address(packet.destination.host) or self._far_end
        self._sock.sendto(packet.raw, (self._interface, ethertype, 0, 0, to))

    def close(self) -> None:
        """Stop capturing."""
        # Close in a thread: the kernel waits some 10 ms until no CPU uses the socket.
        threading.Thread(target=self._sock.close, name="fsmredir-tap", daemon=True).start()

    def _drain(self, sock: socket.socket) -> Iterator[Packet]:
        while True:
            try:
                raw, address = sock.recvfrom(65536)
            except BlockingIOError:
                break
            packet = parse(raw, address[1])
            if packet is not None:
                yield packet
        _, missed = struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if missed:
            raise BufferError(f"the tap missed {missed} packets; read it more often")


def _is_it(sent: Packet, seen: Packet) -> bool:
    """Whether a packet is the sent one, and not one of another protocol with the same content."""
    return sent.number == seen.number and sent.matches(seen)


def _group_hardware_address(host: str) -> bytes | None:
    """Return the hardware address of a multicast or broadcast address; None for unicast."""
    if ":" in host:
        raw = socket.inet_pton(socket.AF_INET6, host)
        return b"\x33\x33" + raw[12:] if raw[0] == 0xFF else None
    raw = socket.inet_aton(host)
    if raw == b"\xff" * 4:
        return b"\xff" * 6
    if raw[0] >> 4 != 0xE:
        return None
    return b"\x01\x00\x5e" + bytes([raw[1] & 0x7F]) + raw[2:]
