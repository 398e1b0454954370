"""Forge packets that no socket would send.

Each function returns the packet as a tap reports it, with valid checksums.
"""

from __future__ import annotations

import socket
import struct
from typing import TypedDict, Unpack

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.packet import Packet, parsed
from pytest_fsmredir.traffic.sockets import address_family

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
SCTP, UDP_LITE = 132, 136
EXPERIMENTAL = 253  # RFC 3692: an IP protocol that nothing handles
ICMPV6 = 58

_TCP, _UDP, _ICMP = 6, 17, 1
_QUOTED = 64  # bytes of an offending packet that an ICMP error repeats; RFC 792 wants 28, v6 48
_ANY_MAC = bytes.fromhex("020000000099")
_CRC32C = 0x82F63B78  # reflected polynomial (RFC 9260, appendix A)
_DONT_FRAGMENT = 0x4000


class IpFields(TypedDict, total=False):
    """Fields of an IP header that a sender chooses.

    Attributes:
        hops: TTL or hop limit; 64 by default.
        service: The TOS or traffic class byte: DSCP in the upper six bits, ECN in the lower two.
        whole: Set the DF bit. IPv4 only: IPv6 routers never fragment.
        identification: 16 bits. IPv4 only; the kernel chooses one in place of 0.
        label: Flow label, 20 bits. IPv6 only.
        ip_options: Padded to a multiple of 4 bytes, 40 at most. IPv4 only.
    """

    hops: int
    service: int
    whole: bool
    identification: int
    label: int
    ip_options: bytes


def ip(
    source: str, destination: str, protocol: int, body: bytes, **fields: Unpack[IpFields]
) -> Packet:
    """Return a packet of any protocol, with ``body`` after its IP header."""
    hops, service = fields.get("hops", 64), fields.get("service", 0)
    if Address(destination, 0).family == 6:
        first = 6 << 28 | service << 20 | fields.get("label", 0)
        head = struct.pack("!IHBB", first, len(body), protocol, hops)
        return parsed(head + _ends(source, destination) + body)
    number, flags = fields.get("identification", 0), _DONT_FRAGMENT * fields.get("whole", False)
    options = fields.get("ip_options", b"")
    length = 20 + len(options)
    # The kernel replaces 0 by a number and updates the checksum (raw(7), IP_HDRINCL).
    head = struct.pack(
        "!BBHHHBBH", 4 << 4 | length // 4, service, length + len(body), number, flags, hops,
        protocol, 0,
    )  # fmt: skip
    return parsed(filled(head + _ends(source, destination) + options, b"", at=10) + body)


def tcp(
    source: Address,
    destination: Address,
    flags: int,
    *,
    seq: int,
    ack: int = 0,
    payload: bytes = b"",
    window: int = 65535,
    urgent: int = 0,
    reserved: int = 0,
    options: bytes = b"",
    **fields: Unpack[IpFields],
) -> Packet:
    """Return a TCP segment; sequence numbers wrap around.

    Args:
        source: Sender.
        destination: Receiver.
        flags: The eight flag bits from CWR to FIN.
        seq: Sequence number.
        ack: Acknowledgement number.
        payload: Data.
        window: Size of the window, unscaled.
        urgent: Urgent pointer.
        reserved: The four bits before the flags; the lowest is AE (RFC 9768).
        options: TCP options, padded to a multiple of 4 bytes, 40 at most.
        fields: Fields of the IP header.
    """
    numbers = (source.port, destination.port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF)
    offset = 5 + len(options) // 4
    head = struct.pack("!HHIIBBHHH", *numbers, offset << 4 | reserved, flags, window, 0, urgent)
    body = summed(source.host, destination.host, _TCP, head + options + payload, at=16)
    return ip(source.host, destination.host, _TCP, body, **fields)


def udp(
    source: Address,
    destination: Address,
    payload: bytes,
    *,
    protocol: int = _UDP,
    **fields: Unpack[IpFields],
) -> Packet:
    """Return a UDP datagram, or a UDP-Lite one whose checksum covers all of it (RFC 3828)."""
    head = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0)
    body = summed(source.host, destination.host, protocol, head + payload, at=6)
    return ip(source.host, destination.host, protocol, body, **fields)


def sctp(source: Address, destination: Address) -> Packet:
    """Return the INIT chunk that opens an SCTP association (RFC 9260, 3.3.2)."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    ports = struct.pack("!HHI", source.port, destination.port, 0)
    sum_ = struct.pack("<I", _crc32c(ports + bytes(4) + chunk))
    return ip(source.host, destination.host, SCTP, ports + sum_ + chunk)


def icmp(
    source: str, destination: str, kind: int, code: int, rest: bytes, **fields: Unpack[IpFields]
) -> Packet:
    """Return an ICMP message of the addresses' IP version, with ``rest`` after its checksum."""
    body = struct.pack("!BBH", kind, code, 0) + rest
    if Address(destination, 0).family == 6:
        summed_up = summed(source, destination, ICMPV6, body, at=2)
        return ip(source, destination, ICMPV6, summed_up, **fields)
    return ip(source, destination, _ICMP, filled(body, b"", at=2), **fields)


def icmp_error(reporter: str, offending: Packet, kind: int, code: int, value: int = 0) -> Packet:
    """Return an ICMP error about a packet, addressed to the packet's sender.

    Args:
        reporter: The address that sends the error.
        offending: The packet; the error quotes its first bytes.
        kind: The ICMP type.
        code: The ICMP code.
        value: The second word of the ICMP header (RFC 792, RFC 4443).
    """
    rest = struct.pack("!I", value) + offending.raw[:_QUOTED]
    return icmp(reporter, offending.source.host, kind, code, rest)


def too_big(reporter: str, offending: Packet, mtu: int) -> Packet:
    """Return the ICMP error that a packet exceeds the MTU of a link (RFC 792, RFC 4443)."""
    kind, code = (2, 0) if offending.source.family == 6 else (3, 4)
    return icmp_error(reporter, offending, kind, code, mtu)


def neighbour_solicitation(source: str, target: str) -> Packet:
    """Return a unicast neighbour solicitation to its target (RFC 4861, 4.3)."""
    option = struct.pack("!BB", 1, 1) + _ANY_MAC
    rest = bytes(4) + socket.inet_pton(socket.AF_INET6, target) + option
    return icmp(source, target, 135, 0, rest, hops=255)


def _ends(source: str, destination: str) -> bytes:
    family = address_family(Address(destination, 0).family)
    return socket.inet_pton(family, source) + socket.inet_pton(family, destination)


def summed(source: str, destination: str, protocol: int, body: bytes, *, at: int) -> bytes:
    """Fill in the checksum over a body and the addresses around it (RFC 8200, 8.1).

    Args:
        source: Source address of the packet.
        destination: Destination address of the packet.
        protocol: Number of the body's protocol.
        body: The body, with two zero bytes in place of its checksum.
        at: Offset of the checksum.
    """
    return filled(body, _ends(source, destination) + struct.pack("!II", len(body), protocol), at)


def filled(body: bytes, pseudo_header: bytes, at: int) -> bytes:
    """Fill in the checksum over a pseudo header and a body."""
    return body[:at] + struct.pack("!H", checksum(pseudo_header + body)) + body[at + 2 :]


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071); 0xFFFF instead of 0, which means "none" in UDP."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF or 0xFFFF


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (_CRC32C if value & 1 else 0)
    return value ^ 0xFFFFFFFF
