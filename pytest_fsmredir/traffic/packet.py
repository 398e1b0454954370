"""Parse the headers of IP packets, and compare two packets."""

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
_OFFSET = 0x1FFF  # mask of the fragment offset in the IPv4 header's flags field


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured or forged IP packet.

    Attributes:
        protocol: TCP, UDP or ICMP (either version); None for other protocols, and for a fragment
            without the protocol's header.
        source: Sender; port 0 if the packet contains no port.
        destination: Receiver; port 0 if the packet contains no port.
        flags: TCP flags, 0 for other protocols.
        raw: The whole packet, starting with its IP header.
    """

    protocol: Protocol | None
    source: Address
    destination: Address
    flags: int
    raw: bytes

    @property
    def opens(self) -> bool:
        """Whether it is a TCP connection request: SYN without ACK."""
        return self.flags & (SYN | ACK) == SYN

    @property
    def ends(self) -> bool:
        """Whether it ends or aborts a TCP connection: FIN or RST."""
        return bool(self.flags & (FIN | RST))

    @property
    def body(self) -> bytes:
        """The bytes after the IP header (for IPv6, extension headers included)."""
        return self.raw[40:] if self.source.family == 6 else self.raw[(self.raw[0] & 15) * 4 :]

    @property
    def number(self) -> int:
        """Protocol number of the packet; IPv6 hop-by-hop options are skipped."""
        if self.source.family == 4:
            return self.raw[9]
        return self.raw[40] if self.raw[6] == HOP_BY_HOP else self.raw[6]

    @property
    def is_multicast(self) -> bool:
        """Whether its destination is a multicast group."""
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
        """Whether it has this source and destination."""
        return self.source == source and self.destination == destination

    def matches(self, other: Packet) -> bool:
        """Whether addresses and content equal the other's; other IP header fields may differ."""
        return self.goes(other.source, other.destination) and self.body == other.body


def parse(raw: bytes, ethertype: int) -> Packet | None:
    """Return the packet after a link header, or None if it is not IP."""
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
    """Describe the fields of the IP header that differ; empty for an unchanged packet.

    The IPv4 header checksum is ignored, and so is an identification that the kernel chose.
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
    """Describe the last packets in words."""
    last = packets[-_LISTED:]
    ends = (f"{each.protocol or 'other'} {each.source} > {each.destination}" for each in last)
    more = "" if len(last) == len(packets) else f"{len(packets) - len(last)} packets, then "
    return more + (", ".join(ends) or "nothing")
