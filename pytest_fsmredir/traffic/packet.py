"""One IP packet: what its headers say, and what differs between two."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from pytest_fsmredir.model.flow import Address, Protocol

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
HOP_BY_HOP = 0  # an extension header of IPv6 (RFC 8200, 4.3)
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD

_PROTOCOLS: dict[int | None, Protocol] = {
    1: Protocol.ICMP,
    58: Protocol.ICMP,
    6: Protocol.TCP,
    17: Protocol.UDP,
}
_LISTED = 8
_OFFSET = 0x1FFF  # fragment offset within the IPv4 header's field of flags and offset


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
    def number(self) -> int:
        """Number of the protocol that the packet is of, behind hop-by-hop options of IPv6."""
        if self.source.family == 4:
            return self.raw[9]
        return self.raw[40] if self.raw[6] == HOP_BY_HOP else self.raw[6]

    @property
    def is_multicast(self) -> bool:
        """Whether it goes to a multicast group."""
        first = 16 if self.source.family == 4 else 24
        mask, prefix = (0xF0, 0xE0) if first == 16 else (0xFF, 0xFF)
        return self.raw[first] & mask == prefix

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


def parse(raw: bytes, ethertype: int) -> Packet | None:
    """Return the packet behind a link header, or None when it is not IP."""
    return parsed(raw) if ethertype in (ETH_P_IP, ETH_P_IPV6) else None


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


def changed_fields(sent: Packet, seen: Packet) -> list[str]:
    """Return which fields of the IP header differ, in words; none for an intact packet.

    The checksum of an IPv4 header is not among them, nor is an identification that the sender left
    to the kernel.
    """
    was, now = _header(sent), _header(seen)
    if not was.get("identification", 1):
        was["identification"] = now["identification"]
    return [
        f"{name} {now[name]} instead of {value}"
        for name, value in was.items()
        if value != now[name]
    ]


def _header(packet: Packet) -> dict[str, object]:
    raw = packet.raw
    rest: dict[str, object]
    if packet.source.family == 6:
        first = int.from_bytes(raw[:4], "big")
        service, rest = (
            first >> 20 & 0xFF,
            {
                "flow label": first & 0xFFFFF,
                "payload length": int.from_bytes(raw[4:6], "big"),
                "next header": raw[6],
                "hop limit": raw[7],
            },
        )
    else:
        length, number, fragment = struct.unpack("!HHH", raw[2:8])
        service, rest = (
            raw[1],
            {
                "length": length,
                "identification": number,
                "fragment field": f"{fragment:#06x}",
                "TTL": raw[8],
                "protocol": raw[9],
                "options": raw[20 : (raw[0] & 15) * 4].hex() or "none",
            },
        )
    return {"DSCP": service >> 2, "ECN": service & 3, **rest}


def listed(packets: list[Packet]) -> str:
    """Return the last packets in words."""
    last = packets[-_LISTED:]
    ends = (f"{each.protocol or 'other'} {each.source} > {each.destination}" for each in last)
    more = "" if len(last) == len(packets) else f"{len(packets) - len(last)} packets, then "
    return more + (", ".join(ends) or "nothing")
