"""Options that a check sets on a client's socket before it connects."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from functools import partial

RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])  # RFC 791: room for one address, end of options
PADDING = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # RFC 8200: a destination options header of nothing

_FASTOPEN_CONNECT = 30  # linux/tcp.h: TCP_FASTOPEN_CONNECT, which Python does not name
_EXPEDITED = 0xB8  # RFC 3246


def with_ip_options(sock: socket.socket) -> None:
    """Put options into the IP header."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, PADDING)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE)


def with_number(option: int, value: int, sock: socket.socket) -> None:
    """Set an option of the socket to a number of 32 bits."""
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("I", value))


def marked(mark: int) -> Callable[[socket.socket], None]:
    """Return a function that marks the packets of a socket."""
    return partial(with_number, socket.SO_MARK, mark)


def with_unusual_header(segment: int, sock: socket.socket) -> None:
    """Give the SYN a small segment size, a service class and, if it is on, fast open.

    Args:
        segment: The maximum segment size to offer, in bytes.
        sock: The socket, before it connects.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _FASTOPEN_CONNECT, 1)
    except OSError as why:  # the pod's kernel may have fast open switched off
        if why.errno != errno.EOPNOTSUPP:
            raise
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
