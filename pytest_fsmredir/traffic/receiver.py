"""Packets that reach a host's own protocols, past every rule, with their IP headers."""

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
# linux/in6.h; each but the first is followed by the type of what it asks for
_FLOWINFO, _RECVPKTINFO, _RECVHOPLIMIT, _RECVHOPOPTS = 11, 49, 51, 53
_PKTINFO, _HOPLIMIT, _HOPOPTS = _RECVPKTINFO + 1, _RECVHOPLIMIT + 1, _RECVHOPOPTS + 1


class Receiver(PacketLog):
    """Raw sockets of a host: what its kernel delivers to some protocols.

    A raw socket gets a packet behind the last hook of the filters, whether or not something else
    handles its protocol (ip_protocol_deliver_rcu and ip6_protocol_deliver_rcu in the kernel).
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
    """Return raw sockets of the namespace that this thread is in, one for each protocol.

    Args:
        version: IP version.
        protocols: Their numbers; at least one.
        groups: Multicast groups to join.
        interface: Where to join them.
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
    """Return a packet with its header, which the kernel tells of field by field (ipv6(7))."""
    body, ancillary, _, source = sock.recvmsg(_LARGEST, _ANCILLARY)
    told = {kind: data for level, kind, data in ancillary if level == socket.IPPROTO_IPV6}
    options = told.get(_HOPOPTS, b"")
    follows = HOP_BY_HOP if options else sock.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL)
    # The field of class and label is not told of where it is 0.
    first = 6 << 28 | int.from_bytes(told.get(_FLOWINFO, b""), "big")
    hops = struct.unpack("=i", told[_HOPLIMIT])[0]
    head = struct.pack("!IHBB", first, len(options) + len(body), follows, hops)
    host = socket.inet_pton(socket.AF_INET6, source[0].partition("%")[0])
    return parsed(head + host + told[_PKTINFO][:16] + options + body)
