"""A packet tap: what really passed an interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_fsmredir.spec.flow import Address, Protocol

ETH_P_ALL = 0x0003
SYN, RST, ACK = 0x02, 0x04, 0x10

_PROTOCOLS = {1: Protocol.ICMP, 58: Protocol.ICMP, 6: Protocol.TCP, 17: Protocol.UDP}
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet as it passed.

    Attributes:
        protocol: TCP, UDP or ICMP (either version); other packets are not reported.
        source: Sender; port 0 for ICMP.
        destination: Receiver; port 0 for ICMP.
        flags: TCP flags, 0 for other protocols.
        raw: The whole packet from its IP header on.
    """

    protocol: Protocol
    source: Address
    destination: Address
    flags: int
    raw: bytes

    @property
    def opens(self) -> bool:
        """A TCP connection request: SYN without ACK."""
        return self.flags & (SYN | ACK) == SYN

    @property
    def resets(self) -> bool:
        """A TCP connection's abortion: RST."""
        return bool(self.flags & RST)


class Tap:
    """An AF_PACKET socket on one interface; reading it never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def packets(self) -> list[Packet]:
        """Return the packets that passed since the last call, both directions, in order."""
        return list(self._drain())

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def _drain(self) -> Iterator[Packet]:
        while True:
            try:
                raw, address = self._sock.recvfrom(65536)
            except BlockingIOError:
                return
            packet = parse(raw, address[1])
            if packet is not None:
                yield packet


def parse(raw: bytes, ethertype: int) -> Packet | None:
    """Return the packet behind a link header, or None when it is of no interest."""
    if ethertype == _ETH_P_IP:
        protocol, start = raw[9], (raw[0] & 15) * 4
        source, destination = socket.inet_ntoa(raw[12:16]), socket.inet_ntoa(raw[16:20])
    elif ethertype == _ETH_P_IPV6:
        protocol, start = raw[6], 40
        source = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        destination = socket.inet_ntop(socket.AF_INET6, raw[24:40])
    else:
        return None
    kind = _PROTOCOLS.get(protocol)
    if kind is None:
        return None
    if kind is Protocol.ICMP:
        return Packet(kind, Address(source, 0), Address(destination, 0), 0, raw)
    source_port = int.from_bytes(raw[start : start + 2], "big")
    destination_port = int.from_bytes(raw[start + 2 : start + 4], "big")
    flags = raw[start + 13] if kind is Protocol.TCP else 0
    return Packet(
        kind, Address(source, source_port), Address(destination, destination_port), flags, raw
    )
