"""Open sockets, and read their properties from the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import Protocol

from pytest_fsmredir.model.flow import Address, Sent

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number
IP_TRANSPARENT = 19  # linux/in.h
IPV6_TRANSPARENT = 75  # linux/in6.h
IPV6_FREEBIND = 78  # linux/in6.h

# Closing with a zero linger time sends RST: no TIME_WAIT socket remains, and the connection
# tracking entry expires after seconds instead of minutes.
_ABORT = struct.pack("ii", 1, 0)

_kernel_family = socket.SocketType.family.__get__
_MAPPED = "::ffff:"  # RFC 4291, 2.5.5.2

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_LOSSES = {
    0: "closed",
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ETIMEDOUT: "no answer",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EPERM: "forbidden",
    errno.EACCES: "forbidden",
    errno.EPIPE: "reset",
}


# A rule dropped the packet, it has no route (ip-route(8): blackhole, prohibit, unreachable), or the
# implementation made the MTU smaller. This is a fate of the packet, not an error of the harness.
KEPT_IN = {
    errno.EPERM,
    errno.EINVAL,
    errno.EACCES,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EMSGSIZE,
}
"""Errors of sending that are a fate of the packet."""


class SocketMaker(Protocol):
    """Creates non-blocking sockets of one place, owned by a given user."""

    def __call__(
        self, family: int, kind: int, proto: int = 0, *, uid: int = 0, gid: int = 0
    ) -> socket.socket:
        """Return a socket of IP version ``family`` (4 or 6) owned by ``uid`` and ``gid``."""
        ...


def address_family(version: int) -> socket.AddressFamily:
    """Return the socket constant of an IP version, 4 or 6."""
    return _FAMILIES[version]


def sockname(sock: socket.socket) -> Address:
    """Return the socket's own address, an IPv4-mapped one as the IPv4 address on the wire."""
    host, port = sock.getsockname()[:2]
    return Address(host.removeprefix(_MAPPED) if "." in host else host, port)


def as_seen_by(sock: socket.socket, address: Address) -> tuple[str, int]:
    """Return an address in the form for this socket: IPv4-mapped for IPv4 on an IPv6 socket."""
    host, port = address
    # Python's ``family`` property builds an enum, which takes as long as a system call.
    if ":" not in host and _kernel_family(sock) == socket.AF_INET6:
        host = _MAPPED + host
    return host, port


def emptied(sock: socket.socket) -> socket.socket:
    """Discard data that a socket received before its use: sockets are created in advance."""
    with suppress(BlockingIOError):
        while True:
            sock.recv(1)
    return sock


def original_destination(sock: socket.socket, version: int) -> Address | None:
    """Return a connection's destination before NAT; None if conntrack has no entry."""
    try:
        if version == 6:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        else:
            raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
            host = socket.inet_ntop(socket.AF_INET, raw[4:8])
    except OSError:
        return None  # ENOENT: not tracked; ENOPROTOOPT: no NAT in this namespace
    return Address(host, int.from_bytes(raw[2:4], "big"))


def sent_by(sock: socket.socket, gid: int, port: int) -> Sent:
    """Return what rules can match in the packets of a socket that a check has prepared.

    Args:
        sock: The socket.
        gid: The group that owns it.
        port: The source port that the check chose; 0 if the kernel chose one.
    """
    v4 = _kernel_family(sock) == socket.AF_INET
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    ttl = sock.getsockopt(level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS)
    tos = sock.getsockopt(level, socket.IP_TOS if v4 else socket.IPV6_TCLASS)
    mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0xFFFFFFFF  # Python reads it signed
    return Sent(gid, mark, tos, ttl, port)


def set_transparent(sock: socket.socket, *, on: bool = True) -> None:
    """Set whether a listener accepts connections that TPROXY hands to it; needs CAP_NET_ADMIN.

    Its connections inherit the setting.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, int(on))
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, int(on))


def abort(sock: socket.socket) -> None:
    """Close immediately and send RST to the peer."""
    with suppress(OSError):  # ENOTCONN and similar: the other side has closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.close()


def loss(code: int) -> str:
    """Return a word for the errno that ended a connection attempt."""
    return _LOSSES.get(code) or errno.errorcode.get(code, f"errno {code}")
