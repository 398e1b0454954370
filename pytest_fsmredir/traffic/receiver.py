"""Capture packets that the kernel delivers after all rules, with their IP headers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.packet import HOP_BY_HOP, Packet, parsed
from pytest_fsmredir.traffic.sockets import address_family
from pytest_fsmredir.traffic.tap import PacketLog

_LARGEST, _ANCILLARY = 65536, 512
_SO_PROTOCOL = 38  # linux/socket.h
# linux/in6.h; the type of the ancillary data is the next number, except for the first
_FLOWINFO, _RECVPKTINFO, _RECVHOPLIMIT, _RECVHOPOPTS = 11, 49, 51, 53
_PKTINFO, _HOPLIMIT, _HOPOPTS = _RECVPKTINFO + 1, _RECVHOPLIMIT + 1, _RECVHOPOPTS + 1


class Receiver(PacketLog):
    """Raw sockets of a host: they receive what its kernel delivers to some protocols.

    A raw socket receives a packet after the last netfilter hook, even if the kernel also handles
    its protocol (ip_protocol_deliver_rcu and ip6_protocol_deliver_rcu in the kernel).
    """

    def __init__(self, sockets: Sequence[socket.socket], engine: Engine, timeout_s: float) -> None:
        super().__init__(sockets, "in the pod", engine, timeout_s)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            sock.close()

    def _drain(self, sock: socket.socket) -> Iterator[Packet]:
        of_ipv6 = sock.family == socket.AF_INET6
        while True:
            try:
                yield _read_v6(sock) if of_ipv6 else parsed(sock.recv(_LARGEST))
            except BlockingIOError:
                return


def open_receivers(
    version: int, protocols: Iterable[int], groups: Iterable[str], interface: str
) -> list[socket.socket]:
    """Return raw sockets of the calling thread's namespace, one for each protocol.

    Args:
        version: IP version.
        protocols: Protocol numbers; at least one.
        groups: Multicast groups to join.
        interface: The interface on which to join them.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    found = [socket.socket(address_family(version), kind, number) for number in protocols]
    if version == 6:
        for sock in found:
            for option in (_FLOWINFO, _RECVPKTINFO, _RECVHOPLIMIT, _RECVHOPOPTS):
                sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
    for group in groups:
        _join(found[0], group, socket.if_nametoindex(interface))
    return found


def _join(sock: socket.socket, group: str, index: int) -> None:
    where = struct.pack("=I", index)
    if sock.family == socket.AF_INET6:
        request = socket.inet_pton(socket.AF_INET6, group) + where
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = socket.inet_aton(group) + bytes(4) + where  # struct ip_mreqn of linux/in.h
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def _read_v6(sock: socket.socket) -> Packet:
    """Read a packet, and rebuild its header from the fields that the kernel reports (ipv6(7))."""
    body, ancillary, _, source = sock.recvmsg(_LARGEST, _ANCILLARY)
    fields = {kind: data for level, kind, data in ancillary if level == socket.IPPROTO_IPV6}
    options = fields.get(_HOPOPTS, b"")
    follows = HOP_BY_HOP if options else sock.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL)
    # The kernel does not report traffic class and flow label if both are 0.
    first = 6 << 28 | int.from_bytes(fields.get(_FLOWINFO, b""), "big")
    hops = struct.unpack("=i", fields[_HOPLIMIT])[0]
    head = struct.pack("!IHBB", first, len(options) + len(body), follows, hops)
    host = socket.inet_pton(socket.AF_INET6, source[0].partition("%")[0])
    return parsed(head + host + fields[_PKTINFO][:16] + options + body)
