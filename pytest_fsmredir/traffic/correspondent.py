"""A UDP socket that has received an answer and reports ICMP errors about its datagrams."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_fsmredir.model.claims import Statement, Unmet
from pytest_fsmredir.model.flow import Fate, Flow
from pytest_fsmredir.traffic import forge
from pytest_fsmredir.traffic.engine import READABLE
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.packet import Packet

_IP_RECVERR, _IPV6_RECVERR = 11, 25  # linux/in.h, linux/in6.h
_KIND, _CODE = 5, 6  # offsets in struct sock_extended_err (linux/errqueue.h)
_ERROR_MESSAGES = {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}
_ROOM = 512  # buffer size in bytes, for a quoted datagram and for its ancillary data


class Correspondent:
    """A connected UDP socket that reports every ICMP error, transient ones included.

    Attributes:
        fate: The fate of its datagram.
    """

    def __init__(self, host: Host, sock: socket.socket, fate: Fate) -> None:
        self.fate = fate
        self._host, self._sock = host, sock
        self._errors: list[tuple[int, int]] = []

    @property
    def datagram(self) -> Packet:
        """A datagram with the same addresses as the one it sent."""
        assert self.fate.client is not None  # noqa: S101 - it is bound
        return forge.udp(self.fate.client, self.fate.flow.destination, b"")

    def expect_error(self, what: str, kind: int, code: int) -> None:
        """Wait for the socket to report an ICMP error.

        Args:
            what: The error in words, for the message.
            kind: Its ICMP type.
            code: Its ICMP code.

        Raises:
            Unmet: The error did not arrive in time.
        """
        engine, wanted = self._host.engine, (kind, code)
        engine.watch(self._sock, READABLE, self._ready)
        try:
            engine.pump(lambda: wanted in self._errors, self._host.timeout_s)
        finally:
            engine.forget(self._sock)
        errors, self._errors = self._errors, []
        if wanted not in errors:
            seen = ", ".join(f"type {kind}, code {code}" for kind, code in errors) or "nothing"
            expected = f"the ICMP error {what!r} at the socket (type {kind}, code {code})"
            raise Unmet(
                Statement(holds=False, expected=expected, observed=seen, about=str(self.fate.flow))
            )

    def _ready(self, _: int) -> None:
        while True:
            try:
                ancillary = self._sock.recvmsg(_ROOM, _ROOM, socket.MSG_ERRQUEUE)[1]
            except BlockingIOError:
                return
            for level, name, data in ancillary:
                if (level, name) in _ERROR_MESSAGES:
                    self._errors.append((data[_KIND], data[_CODE]))


@contextmanager
def corresponding(host: Host, flow: Flow) -> Iterator[Correspondent]:
    """Send a UDP datagram from a host, and keep its socket for the block."""
    sock = host.datagram_socket(flow)
    with sock:
        if flow.destination.family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        yield Correspondent(host, sock, host.datagram_on(sock, flow))
