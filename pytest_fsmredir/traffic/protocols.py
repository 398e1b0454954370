"""Valid packets of protocols other than TCP and UDP.

Connection tracking does not consider them INVALID, so a rule that drops INVALID packets keeps them.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic import forge
from pytest_fsmredir.traffic.packet import HOP_BY_HOP, Packet

Named = tuple[str, Packet]
"""A packet's description, and the packet."""

_IGMP, _DCCP, _GRE, _ESP, _AH = 2, 33, 47, 50, 51
_ETH_P_IP = 0x0800
_ROUTER_ALERT = bytes([148, 4, 0, 0])  # RFC 2113
_ALERT_HEADER = bytes([forge.ICMPV6, 0, 5, 2, 0, 0, 1, 0])  # RFC 2711, and padding
_CONTENT = b"fsmredir"

# Protocols whose packets have an arbitrary body here: names and IANA numbers.
_OPAQUE = {
    "IPv4 in IP": 4, "EGP": 8, "IPv6 in IP": 41, "RSVP": 46, "Mobile IP": 55, "EIGRP": 88,
    "OSPF": 89, "IPIP (94)": 94, "PIM": 103, "IPComp": 108, "VRRP": 112,
    "L2TP": 115, "MPLS in IP": 137, "RFC 3692 (253)": 253, "RFC 3692 (254)": 254,
}  # fmt: skip
# TCP, UDP, both ICMP protocols and IPv6 extension headers; UDP-Lite, whose checksum connection
# tracking computes wrongly for incoming packets; 0 and 255, which no raw socket receives.
_NOT_OPAQUE = {0, 1, 6, 17, 43, 44, 51, 58, 59, 60, 135, 136, 139, 140, 255}


class Query(NamedTuple):
    """An ICMP request and its reply.

    Attributes:
        name: The kind of request.
        request: The packet from the source to the destination.
        reply: The packet in the opposite direction.
    """

    name: str
    request: Packet
    reply: Packet


def other_protocols(source: Address, destination: Address, *, every: bool = False) -> list[Named]:
    """Return packets of protocols that are neither TCP, UDP nor ICMP.

    Args:
        source: Sender; the port is used if the protocol has ports.
        destination: Receiver.
        every: Include a packet for every protocol number.
    """
    here, there = source.host, destination.host
    structured = {
        "SCTP": forge.sctp(source, destination),
        "DCCP": _dccp(source, destination),
        "GRE": forge.ip(here, there, _GRE, struct.pack("!HH", 0, _ETH_P_IP) + _CONTENT),
        "ESP": forge.ip(here, there, _ESP, struct.pack("!II", 0x1000, 1) + bytes(24)),
        "AH": forge.ip(here, there, _AH, _authentication()),
    }
    numbers = set(_OPAQUE.values()) | (set(range(256)) if every else set())
    taken = _NOT_OPAQUE | {packet.number for packet in structured.values()}
    names = {number: name for name, number in _OPAQUE.items()}
    opaque = {
        names.get(number, f"protocol {number}"): forge.ip(here, there, number, _CONTENT)
        for number in sorted(numbers - taken)
    }
    return [*structured.items(), *opaque.items()]


def icmp_queries(source: str, destination: str) -> list[Query]:
    """Return each ICMP request, with its reply (RFC 792, RFC 950, RFC 4443, RFC 4620)."""
    kinds = {
        4: {
            "echo": (8, 0, _CONTENT),
            "timestamp": (13, 14, bytes(12)),
            "information": (15, 16, b""),
            "address mask": (17, 18, bytes(4)),
        },
        6: {"echo": (128, 129, _CONTENT), "node information": (139, 140, bytes(8))},
    }
    return [
        Query(
            name,
            forge.icmp(source, destination, asking, 0, struct.pack("!HH", asking, 1) + rest),
            forge.icmp(destination, source, answering, 0, struct.pack("!HH", asking, 1) + rest),
        )
        for name, (asking, answering, rest) in kinds[Address(source, 0).family].items()
    ]


def igmp_messages(source: str) -> list[Named]:
    """Return the IGMP messages of hosts and routers (RFC 2236, RFC 3376)."""
    messages = {
        "IGMP query": ("224.0.0.1", 0x11, bytes(4)),
        "IGMPv2 report": ("224.0.0.251", 0x16, socket.inet_aton("224.0.0.251")),
        "IGMP leave": ("224.0.0.2", 0x17, socket.inet_aton("224.0.0.251")),
        "IGMPv3 report": ("224.0.0.22", 0x22, bytes(4)),
    }
    return [
        (
            name,
            forge.ip(
                source, group, _IGMP, forge.filled(struct.pack("!BBH", kind, 0, 0) + rest, b"", 2),
                hops=1, ip_options=_ROUTER_ALERT,
            ),
        )
        for name, (group, kind, rest) in messages.items()
    ]  # fmt: skip


def neighbour_messages(source: str) -> list[Named]:
    """Return the messages of neighbour and listener discovery (RFC 4861, RFC 2710, RFC 3810).

    They refer to unused addresses, so they change no state of the receiver.
    """
    nothing = socket.inet_pton(socket.AF_INET6, "fe80::dead")
    discovery = {
        "router solicitation": ("ff02::2", 133, bytes(4)),
        "router advertisement": ("ff02::1", 134, bytes(12)),
        "neighbour solicitation": ("ff02::1:ff00:dead", 135, bytes(4) + nothing),
        "neighbour advertisement": ("ff02::1", 136, bytes(4) + nothing),
    }
    listening = {
        "MLD query": ("ff02::1", 130, bytes(20)),
        "MLD report": ("ff02::fb", 131, bytes(4) + socket.inet_pton(socket.AF_INET6, "ff02::fb")),
        "MLD done": ("ff02::2", 132, bytes(4) + socket.inet_pton(socket.AF_INET6, "ff02::fb")),
        "MLDv2 report": ("ff02::16", 143, bytes(4)),
    }
    return [
        *(
            (name, forge.icmp(source, group, kind, 0, rest, hops=255))
            for name, (group, kind, rest) in discovery.items()
        ),
        *(
            (name, _alerting(forge.icmp(source, group, kind, 0, rest)))
            for name, (group, kind, rest) in listening.items()
        ),
    ]


def _alerting(message: Packet) -> Packet:
    """Return an ICMPv6 message with the hop limit and router alert that MLD requires."""
    source, destination = message.source.host, message.destination.host
    return forge.ip(source, destination, HOP_BY_HOP, _ALERT_HEADER + message.body, hops=1)


def _dccp(source: Address, destination: Address) -> Packet:
    """Return a DCCP-Request (RFC 4340, 5.1 and 5.6)."""
    head = struct.pack("!HHBBHBBHII", source.port, destination.port, 5, 0, 0, 1, 0, 0, 1, 0)
    body = forge.summed(source.host, destination.host, _DCCP, head, at=6)
    return forge.ip(source.host, destination.host, _DCCP, body)


def _authentication() -> bytes:
    """Return an Authentication Header (RFC 4302) before the body of an experimental protocol."""
    return struct.pack("!BBHII", forge.EXPERIMENTAL, 4, 0, 0x1000, 1) + bytes(12) + _CONTENT
