"""A host: a place that flows start from and arrive at."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Self

from pytest_fsmredir.spec.flow import Acceptance, Acceptor, Address, Fate, Flow
from pytest_fsmredir.traffic.engine import READABLE, Engine
from pytest_fsmredir.traffic.services import (
    DatagramListener,
    Listener,
    PingEar,
    Serve,
    answer,
    echo_request,
)
from pytest_fsmredir.traffic.sockets import SocketMaker, as_seen_by, loss, sockname
from pytest_fsmredir.traffic.stream import Stream
from pytest_fsmredir.traffic.tap import Packet
from pytest_fsmredir.traffic.wire import from_banner

BACKLOG = 1024
WINDOW = 32  # flows of one sweep that are under way at once

Prepare = Callable[[socket.socket], None]


class Connection:
    """A TCP connection attempt, and what came of it; as a context manager it closes itself.

    Attributes:
        flow: What was dialled.
        client: The client's own address.
        lost: How the attempt or the connection ended, in a plain word; None while it lives.
        received: What arrived after the banner.
        answered_by: The acceptance that the banner told of; None without one.
    """

    def __init__(self, engine: Engine, flow: Flow, sock: socket.socket) -> None:
        self.flow = flow
        self.client: Address | None = None
        self.lost: str | None = None
        self.received = bytearray()
        self.answered_by: Acceptance | None = None
        self._engine = engine
        self._mark = len(engine.log)
        self._line = bytearray()
        self._stream: Stream | None = None
        self._dial(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_settled(self) -> bool:
        """Whether the attempt has been answered or lost."""
        return self.answered_by is not None or self.lost is not None

    @property
    def ended(self) -> bool:
        """The other side has half-closed, or the connection is gone."""
        return self.lost is not None or (self._stream is not None and self._stream.ended)

    @property
    def path(self) -> tuple[Acceptance, ...]:
        """Every acceptance since the attempt began; meaningful while no other flow starts."""
        return tuple(self._engine.log[self._mark :])

    @property
    def fate(self) -> Fate:
        """What became of the attempt."""
        return Fate(self.flow, self.client, self.path, self.lost)

    @property
    def fate_by_banner(self) -> Fate:
        """The fate of one of several flows under way at once: who answered, as the banner told."""
        path = (self.answered_by,) if self.answered_by is not None else ()
        return Fate(self.flow, self.client, path, self.lost)

    def exchange(self, payload: bytes, within_s: float) -> bytes:
        """Send the payload and return what comes back, up to the payload's length."""
        self.send(payload)
        self._engine.pump(lambda: len(self.received) >= len(payload) or self.ended, within_s)
        echoed = bytes(self.received[: len(payload)])
        del self.received[: len(payload)]
        return echoed

    def send(self, payload: bytes) -> None:
        """Queue a payload."""
        if self._stream is not None:
            self._stream.send(payload)

    def finish(self, within_s: float) -> bool:
        """Half-close, and return whether the other side then half-closes too."""
        if self._stream is not None:
            self._stream.finish()
        return self._engine.pump(lambda: self.ended, within_s) and self.lost is None

    def close(self) -> None:
        """Abort the connection."""
        if self._stream is not None:
            self._stream.close()

    def give_up(self) -> None:
        """Call the attempt lost because nobody answered in time."""
        if not self.is_settled():
            self.lost = "no answer"

    def _dial(self, sock: socket.socket) -> None:
        code = sock.connect_ex(as_seen_by(sock, self.flow.destination))
        # EALREADY: the caller's preparation has sent the SYN (TCP fast open).
        if code not in (0, errno.EINPROGRESS, errno.EALREADY):
            self.lost = loss(code)
            sock.close()
            return
        self.client = sockname(sock)
        self._stream = stream = Stream(self._engine, sock)
        stream.on_data = self._hear
        stream.on_end = self._end
        stream.on_loss = self._lose

    def _hear(self, data: bytes) -> None:
        if self.answered_by is not None:
            self.received += data
            return
        self._line += data
        line, newline, rest = bytes(self._line).partition(b"\n")
        if newline:
            self.answered_by = from_banner(line)
            self.received += rest

    def _end(self) -> None:
        if self.answered_by is None:
            self.lost = "closed"

    def _lose(self, how: str) -> None:
        self.lost = self.lost or how


class Host:
    """Starts flows, listens, and tells their fates; the same code on a namespace and in a pod.

    Attributes:
        engine: The loop that drives the sockets.
        timeout_s: How long a flow may take before it counts as "no answer".
    """

    def __init__(self, engine: Engine, sockets: SocketMaker, timeout_s: float) -> None:
        self.engine, self.timeout_s = engine, timeout_s
        self._sockets = sockets

    def open(
        self,
        flow: Flow,
        *,
        source: Address | None = None,
        gid: int = 0,
        prepare: Prepare | None = None,
        mapped: bool = False,
    ) -> Connection:
        """Dial, wait for the fate, and return the connection, which the caller closes.

        Args:
            flow: What to dial; its uid owns the socket (0 where it has none).
            source: Local address to bind first; port 0 lets the kernel choose.
            gid: Group that owns the socket.
            prepare: Called with the socket before it is bound.
            mapped: Dial an IPv4 destination from an IPv6 socket.
        """
        connection = self._dial(flow, source, gid, prepare, mapped=mapped)
        try:
            self.engine.pump(connection.is_settled, self.timeout_s)
        except BaseException:
            connection.close()
            raise
        connection.give_up()
        return connection

    def connect_all(
        self, flows: Iterable[Flow], *, source: Address | None = None
    ) -> Iterator[Fate]:
        """Dial many flows, several at once, and yield their fates in the order given.

        The path of such a fate is what the banner told, so the sidecar must answer by itself.

        Args:
            flows: What to dial.
            source: Local address to bind first; port 0 gives each its own port. Flows that share
                one are alike to connection tracking once they are redirected, and may be delayed.
        """
        pending = iter(flows)
        while window := [self._dial(flow, source) for flow in islice(pending, WINDOW)]:
            try:
                self._settle(window)
            finally:
                for connection in window:
                    connection.close()
            for connection in window:
                yield connection.fate_by_banner

    def datagram(self, flow: Flow, *, source: Address | None = None, payload: bytes = b"") -> Fate:
        """Send one UDP datagram and wait for its answer, which repeats the payload."""
        sock = self._sockets(flow.destination.family, socket.SOCK_DGRAM, uid=flow.uid or 0)
        with sock:
            return self.datagram_on(sock, flow, source=source, payload=payload)

    def datagram_on(
        self,
        sock: socket.socket,
        flow: Flow,
        *,
        source: Address | None = None,
        payload: bytes = b"",
    ) -> Fate:
        """Send one UDP datagram from a socket that is kept, and wait for its answer."""
        if source is not None:
            _bind_datagrams(sock, source)
        sock.connect(tuple(flow.destination))
        return self._ask(flow, sock, payload, lambda got: got.endswith(payload), sockname(sock))

    def inject(self, packet: Packet, *, uid: int = 0) -> None:
        """Send a packet made by hand, addresses and all."""
        version = packet.destination.family
        with self._sockets(version, socket.SOCK_RAW, socket.IPPROTO_RAW, uid=uid) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            with suppress(PermissionError):  # dropped by a rule: its fate, and no error of ours
                sock.sendto(packet.raw, (packet.destination.host, 0))

    def ping(self, flow: Flow) -> Fate:
        """Send one ICMP echo request and wait for the reply and for the far host to report it."""
        version = flow.destination.family
        proto = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        with self._sockets(version, socket.SOCK_RAW, proto, uid=flow.uid or 0) as sock:
            sock.connect((flow.destination.host, 0))
            own = sockname(sock)._replace(port=0)
            request = echo_request(version, identifier=len(self.engine.log) & 0xFFFF)

            def is_reply(packet: bytes) -> bool:
                icmp = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
                return icmp[0] in (0, 129) and icmp[4:6] == request[4:6]

            return self._ask(flow, sock, request, is_reply, own)

    def stream(self, flow: Flow, *, source: Address | None = None) -> Stream | None:
        """Dial without waiting, as a forwarder does; None if the kernel refuses at once."""
        sock = self._socket(flow, source)
        if sock.connect_ex(tuple(flow.destination)) not in (0, errno.EINPROGRESS):
            sock.close()
            return None
        return Stream(self.engine, sock)

    def listen(
        self,
        address: Address,
        *,
        by: Acceptor = Acceptor.ORIGIN,
        uid: int = 0,
        serve: Serve = answer,
        prepare: Prepare | None = None,
    ) -> Listener:
        """Listen for TCP on an address of this host.

        Raises:
            OSError: The address is taken or not this host's.
        """
        sock = self._sockets(address.family, socket.SOCK_STREAM, uid=uid)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.family == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if prepare is not None:
                prepare(sock)
            sock.bind(tuple(address))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return Listener(self.engine, sock, by, serve)

    def listen_datagrams(
        self, address: Address, *, by: Acceptor = Acceptor.ORIGIN, uid: int = 0
    ) -> DatagramListener:
        """Answer UDP datagrams on an address of this host."""
        sock = self._sockets(address.family, socket.SOCK_DGRAM, uid=uid)
        try:
            _bind_datagrams(sock, address)
        except OSError:
            sock.close()
            raise
        return DatagramListener(self.engine, sock, by)

    def hear_pings(self, version: int) -> PingEar:
        """Log the echo requests that reach this host."""
        proto = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        return PingEar(self.engine, self._sockets(version, socket.SOCK_RAW, proto))

    def _dial(
        self,
        flow: Flow,
        source: Address | None = None,
        gid: int = 0,
        prepare: Prepare | None = None,
        *,
        mapped: bool = False,
    ) -> Connection:
        sock = self._socket(flow, source, gid, prepare, mapped=mapped)
        try:
            return Connection(self.engine, flow, sock)
        except BaseException:
            sock.close()
            raise

    def _socket(
        self,
        flow: Flow,
        source: Address | None,
        gid: int = 0,
        prepare: Prepare | None = None,
        *,
        mapped: bool = False,
    ) -> socket.socket:
        version = 6 if mapped else flow.destination.family
        sock = self._sockets(version, socket.SOCK_STREAM, uid=flow.uid or 0, gid=gid)
        try:
            if prepare is not None:
                prepare(sock)
            if source is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(as_seen_by(sock, source))
        except OSError:
            sock.close()
            raise
        return sock

    def _settle(self, window: list[Connection]) -> None:
        waiting = iter(window)
        current = next(waiting)

        def all_settled() -> bool:
            nonlocal current
            while current.is_settled():
                following = next(waiting, None)
                if following is None:
                    return True
                current = following
            return False

        self.engine.pump(all_settled, self.timeout_s)
        for connection in window:
            connection.give_up()

    def _ask(
        self,
        flow: Flow,
        sock: socket.socket,
        request: bytes,
        is_answer: Callable[[bytes], bool],
        own: Address,
    ) -> Fate:
        """Send one datagram and pump until its answer or an ICMP error has come."""
        mark = len(self.engine.log)
        ended: list[str | None] = []

        def ready(_: int) -> None:
            try:
                if is_answer(sock.recv(65536)):
                    ended.append(None)
            except BlockingIOError:
                pass
            except OSError as error:
                ended.append(loss(error.errno or 0))

        self.engine.watch(sock, READABLE, ready)
        try:
            sock.send(request)
            self.engine.pump(lambda: bool(ended), self.timeout_s)
        except OSError as error:
            ended.append(loss(error.errno or 0))
        finally:
            self.engine.forget(sock)
        path = tuple(self.engine.log[mark:])
        return Fate(flow, own, path, ended[0] if ended else "no answer")


def _bind_datagrams(sock: socket.socket, address: Address) -> None:
    # A program that another thread is just starting holds a copy of each descriptor for a moment,
    # so a socket we have closed may still have the port. The newest one gets the datagrams.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(tuple(address))
