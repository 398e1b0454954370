"""How the check sees which socket of the pod accepted a flow."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from pytest_fsmredir.agent.selfcheck.pod import plain, sockets_of_the_pod

_ORIGINAL_DESTINATION = 80  # linux/netfilter_ipv4.h; the same number in netfilter_ipv6


class Taken(NamedTuple):
    """The port of the socket that accepted a flow, and the destination that this socket knows."""

    port: int
    destination: tuple[str, int]


class Listeners:
    """Listening sockets of the check, which read the original destination of each flow.

    Attributes:
        ports: The ports on which it listens.
    """

    def __init__(self, undo: ExitStack) -> None:
        self.ports: list[int] = []
        self._undo = undo
        self._sockets: dict[int, socket.socket] = {}
        self._accepted: dict[tuple[str, int], socket.socket] = {}

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that are readable when a flow arrives."""
        return list(self._sockets)

    def listen(self, families: Sequence[int], port: int) -> bool:
        """Listen on a port of every address, on a free one for 0. Return False if it is taken."""
        for family in families:
            sock = self._undo.enter_context(new_socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("", port))
                sock.listen(64)
            except OSError:
                return False
            self._sockets[sock.fileno()] = sock
            port = sock.getsockname()[1]
        self.ports.append(port)
        return True

    def taken(self, source: tuple[str, int]) -> Taken | None:
        """Return how a flow from that source was accepted; None if it was not."""
        for listener in self._sockets.values():
            with suppress(BlockingIOError):
                while True:
                    accepted, peer = listener.accept()
                    self._accepted[plain(peer)] = self._undo.enter_context(accepted)
        sock = self._accepted.pop(source, None)
        if sock is None:
            return None
        with closing(sock):
            with suppress(OSError):
                sock.send(b"!")
            return Taken(sock.getsockname()[1], _original_destination(sock))


class Tables:
    """The sockets of every process in the pod. They show no original destination."""

    descriptors: Sequence[int] = ()

    def taken(self, source: tuple[str, int]) -> Taken | None:
        """Return the pod's socket at the other end of a flow; None if there is none."""
        for each in sockets_of_the_pod():
            if each.remote == source:
                return Taken(each.local[1], each.local)
        return None


def _original_destination(sock: socket.socket) -> tuple[str, int]:
    v6 = sock.family == socket.AF_INET6
    level, size = (socket.IPPROTO_IPV6, 28) if v6 else (socket.IPPROTO_IP, 16)
    try:
        raw = sock.getsockopt(level, _ORIGINAL_DESTINATION, size)
    except OSError:  # connection tracking does not know the connection
        return plain(sock.getsockname())
    host = str(IPv6Address(raw[8:24]) if v6 else IPv4Address(raw[4:8]))
    return host, int.from_bytes(raw[2:4], "big")


def new_socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Return a socket that does not block."""
    sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind, protocol)
    sock.setblocking(False)
    if family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
