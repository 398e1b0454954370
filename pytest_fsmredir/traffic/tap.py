"""A packet tap: what really passed an interface."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_fsmredir.model.claims import Statement, Unmet
from pytest_fsmredir.model.flow import Address, Protocol
from pytest_fsmredir.traffic.engine import READABLE, Engine

ETH_P_ALL = 0x0003
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_PROTOCOLS: dict[int | None, Protocol] = {
    1: Protocol.ICMP,
    58: Protocol.ICMP,
    6: Protocol.TCP,
    17: Protocol.UDP,
}
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/if_packet.h
_LISTED = 8
_OFFSET = 0x1FFF  # fragment offset within the IPv4 header's field of flags and offset
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet as it passed.

    Attributes:
        protocol: TCP, UDP or ICMP (either version); None for any other, and for a fragment that
            does not begin with the header of one.
        source: Sender; port 0 where the packet shows none.
        destination: Receiver; port 0 where the packet shows none.
        flags: TCP flags, 0 for other protocols.
        raw: The whole packet from its IP header on.
    """

    protocol: Protocol | None
    source: Address
    destination: Address
    flags: int
    raw: bytes

    @property
    def opens(self) -> bool:
        """A TCP connection request: SYN without ACK."""
        return self.flags & (SYN | ACK) == SYN

    @property
    def ends(self) -> bool:
        """A TCP connection's end or abortion: FIN or RST."""
        return bool(self.flags & (FIN | RST))

    @property
    def body(self) -> bytes:
        """What follows the IP header (and, for IPv6, comes before any extension header)."""
        return self.raw[40:] if self.source.family == 6 else self.raw[(self.raw[0] & 15) * 4 :]

    @property
    def seq(self) -> int:
        """Sequence number of a TCP segment."""
        return int.from_bytes(self.body[4:8], "big")

    @property
    def ack(self) -> int:
        """Acknowledgement number of a TCP segment."""
        return int.from_bytes(self.body[8:12], "big")

    def goes(self, source: Address, destination: Address) -> bool:
        """Whether it travels from here to there."""
        return self.source == source and self.destination == destination

    def matches(self, other: Packet) -> bool:
        """Whether it has the other's addresses and content, whatever else its IP header says."""
        return self.goes(other.source, other.destination) and self.body == other.body


class PacketTap:
    """An AF_PACKET socket on one interface.

    Attributes:
        engine: The loop that drives the senders of the packets.
        timeout_s: How long an expected packet may take.
    """

    def __init__(
        self, sock: socket.socket, engine: Engine, timeout_s: float, far_end: tuple[str, str]
    ) -> None:
        """Listen.

        Args:
            sock: The socket.
            engine: The loop that drives the senders of the packets.
            timeout_s: How long an expected packet may take.
            far_end: Name of the interface, and the hardware address of the other end of its link.
        """
        self.engine, self.timeout_s = engine, timeout_s
        self._sock = sock
        self._interface, self._far_end = far_end[0], bytes.fromhex(far_end[1].replace(":", ""))
        self._unread: list[Packet] = []

    def packets(self) -> list[Packet]:
        """Return the packets that passed since the last call, both directions, in order."""
        self._unread.extend(self._drain())
        packets, self._unread = self._unread, []
        return packets

    def expect(self, what: str, wanted: Callable[[Packet], bool]) -> Packet:
        """Return the next packet that is wanted, passing over the ones before it.

        Args:
            what: The packet in words, for the message.
            wanted: Whether a packet is the one.

        Raises:
            Unmet: No such packet passed in time.
        """
        packets = self._unread
        self.engine.watch(self._sock, READABLE, lambda _: packets.extend(self._drain()))
        try:
            self.engine.pump(lambda: any(map(wanted, packets)), self.timeout_s)
        finally:
            self.engine.forget(self._sock)
        position = next((n for n, packet in enumerate(packets) if wanted(packet)), None)
        if position is None:
            expected = f"{what} on the pod's link"
            raise Unmet(Statement(holds=False, expected=expected, observed=_listed(packets)))
        self._unread = packets[position + 1 :]
        return packets[position]

    def deliver(self, packet: Packet) -> None:
        """Put a packet on the link, for the other end to receive whatever its addresses are.

        The kernel does not show a packet to the socket that sent it (skb_loop_sk,
        linux/net/core/dev.c), so the tap does not see it.
        """
        ethertype = _ETH_P_IPV6 if packet.destination.family == 6 else _ETH_P_IP
        self._sock.sendto(packet.raw, (self._interface, ethertype, 0, 0, self._far_end))

    def close(self) -> None:
        """Stop listening."""
        # The kernel waits for every processor to have let go of the socket: some 10 ms, without us.
        threading.Thread(target=self._sock.close, name="fsmredir-tap", daemon=True).start()

    def _drain(self) -> Iterator[Packet]:
        while True:
            try:
                raw, address = self._sock.recvfrom(65536)
            except BlockingIOError:
                break
            packet = parse(raw, address[1])
            if packet is not None:
                yield packet
        _, missed = struct.unpack("II", self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if missed:
            raise BufferError(f"the tap missed {missed} packets; read it more often")


def parse(raw: bytes, ethertype: int) -> Packet | None:
    """Return the packet behind a link header, or None when it is not IP."""
    return parsed(raw) if ethertype in (_ETH_P_IP, _ETH_P_IPV6) else None


def parsed(raw: bytes) -> Packet:
    """Return the packet that begins with an IP header."""
    if raw[0] >> 4 == 4:
        begins, start = not int.from_bytes(raw[6:8], "big") & _OFFSET, (raw[0] & 15) * 4
        protocol = raw[9] if begins else None
        source, destination = socket.inet_ntoa(raw[12:16]), socket.inet_ntoa(raw[16:20])
    else:
        protocol, start = raw[6], 40
        source = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        destination = socket.inet_ntop(socket.AF_INET6, raw[24:40])
    kind = _PROTOCOLS.get(protocol)
    if kind in (None, Protocol.ICMP):
        return Packet(kind, Address(source, 0), Address(destination, 0), 0, raw)
    source_port = int.from_bytes(raw[start : start + 2], "big")
    destination_port = int.from_bytes(raw[start + 2 : start + 4], "big")
    flags = raw[start + 13] if kind is Protocol.TCP else 0
    return Packet(
        kind, Address(source, source_port), Address(destination, destination_port), flags, raw
    )


def _listed(packets: list[Packet]) -> str:
    """Return the last packets in words."""
    last = packets[-_LISTED:]
    ends = (f"{each.protocol or 'other'} {each.source} > {each.destination}" for each in last)
    more = "" if len(last) == len(packets) else f"{len(packets) - len(last)} packets, then "
    return more + (", ".join(ends) or "nothing")
