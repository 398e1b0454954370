"""The far ends of flows: listeners that log what they accept and answer with a banner."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.traffic.engine import READABLE, Engine
from pytest_fsmredir.traffic.forge import checksum
from pytest_fsmredir.traffic.sockets import emptied, original_destination, sockname
from pytest_fsmredir.traffic.stream import Stream
from pytest_fsmredir.traffic.wire import banner

Serve = Callable[[Stream, Acceptance], None]

PING_TOKEN = b"fsmredir"
_LEAST_ROOM = 64  # number of streams from which closed ones are removed
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50  # linux/in6.h


def answer(stream: Stream, acceptance: Acceptance) -> None:
    """Send the banner to the client, then echo its data until it half-closes."""
    stream.copy_to(stream)
    stream.send(banner(acceptance))


class Listener:
    """A listening TCP socket: every connection is accepted, logged and served.

    Attributes:
        address: The address that it listens on.
    """

    def __init__(self, engine: Engine, sock: socket.socket, by: Acceptor, serve: Serve) -> None:
        self.address = sockname(sock)
        self._engine, self._sock, self._by, self._serve = engine, sock, by, serve
        self._version = self.address.family
        self._streams: list[Stream] = []
        self._room = _LEAST_ROOM
        # Accepted connections inherit the option: urgent data arrives in line with the other data.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        engine.watch(sock, READABLE, self._ready)

    def close(self) -> None:
        """Stop listening and abort the connections that are still open."""
        self._engine.forget(self._sock)
        # A program that another thread is starting holds a copy of the socket until it executes.
        self._sock.shutdown(socket.SHUT_RD)
        self._sock.close()
        for stream in self._streams:
            stream.close()

    def _ready(self, _: int) -> None:
        brief = self._engine.brief
        if brief is None:
            self._accept(watched=True)
            return
        while (stream := self._accept(watched=False)) is not None:
            brief.append(stream)

    def _accept(self, *, watched: bool) -> Stream | None:
        """Accept and serve one connection; None if there is none."""
        try:
            sock, peer = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None  # the client has reset it; other queued connections trigger another call
        sock.setblocking(False)
        acceptance = self._engine.accepted(
            self._by, sockname(sock), Address(*peer[:2]), original_destination(sock, self._version)
        )
        stream = Stream(self._engine, sock, watched=watched)
        if watched:
            self._engine.ends[acceptance.serial] = stream
            self._keep(stream)
        self._serve(stream, acceptance)
        return stream

    def _keep(self, stream: Stream) -> None:
        if len(self._streams) >= self._room:
            self._streams = [stream for stream in self._streams if not stream.closed]
            self._room = max(_LEAST_ROOM, 2 * len(self._streams))
        self._streams.append(stream)


class DatagramListener:
    """A bound UDP socket: every datagram is logged and answered with a banner."""

    def __init__(self, engine: Engine, sock: socket.socket, by: Acceptor) -> None:
        self.address = sockname(sock)
        self._engine, self._sock, self._by = engine, sock, by
        engine.watch(sock, READABLE, self._ready)

    def close(self) -> None:
        """Stop listening."""
        self._engine.forget(self._sock)
        self._sock.close()

    def _ready(self, _: int) -> None:
        while True:
            try:
                data, peer = self._sock.recvfrom(65536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue  # an ICMP error about an earlier answer
            acceptance = self._engine.accepted(self._by, self.address, Address(*peer[:2]), None)
            self._sock.sendto(banner(acceptance) + data, peer)


class PingEar:
    """A raw ICMP socket that logs the echo requests that the kernel answers."""

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self._engine, self._sock = engine, sock
        self._read = self._read_v6 if sock.family == socket.AF_INET6 else self._read_v4
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        engine.watch(emptied(sock), READABLE, self._ready)

    def close(self) -> None:
        """Stop listening."""
        self._engine.forget(self._sock)
        self._sock.close()

    def _ready(self, _: int) -> None:
        while True:
            try:
                heard = self._read()
            except BlockingIOError:
                return
            if heard is not None:
                source, destination = heard
                self._engine.accepted(
                    Acceptor.ORIGIN, Address(destination, 0), Address(source, 0), None
                )

    def _read_v4(self) -> tuple[str, str] | None:
        packet = self._sock.recv(65536)
        icmp = packet[(packet[0] & 15) * 4 :]
        if icmp[0] != echo_request_type(4) or PING_TOKEN not in icmp:
            return None
        return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])

    def _read_v6(self) -> tuple[str, str] | None:
        icmp, ancillary, _, source = self._sock.recvmsg(65536, 64)
        if icmp[0] != echo_request_type(6) or PING_TOKEN not in icmp:
            return None
        destination: str = next(
            socket.inet_ntop(socket.AF_INET6, data[:16])
            for level, kind, data in ancillary
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO)
        )
        return source[0], destination


def echo_request_type(version: int) -> int:
    """Return the ICMP type of an echo request (RFC 792, RFC 4443)."""
    return 8 if version == 4 else 128


def echo_request(version: int, identifier: int, payload: bytes = b"") -> bytes:
    """Return an ICMP echo request; the kernel fills in the checksum for IPv6 only."""
    head = struct.pack("!BBHHH", echo_request_type(version), 0, 0, identifier, 1)
    packet = head + PING_TOKEN + payload
    if version == 6:
        return packet
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
