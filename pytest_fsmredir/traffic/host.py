"""A host: a source and destination of flows."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle, islice

from pytest_fsmredir.model.flow import Acceptor, Address, Fate, Flow, Route, Sent
from pytest_fsmredir.model.reserved import ANY, SIDECAR_UID
from pytest_fsmredir.traffic.connection import Connection, LocalConnection
from pytest_fsmredir.traffic.dial import PLAIN, Dial, Prepare
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME, READABLE, Engine
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.screen import Ear, FirstPackets, Owner, Screen
from pytest_fsmredir.traffic.services import (
    DatagramListener,
    Listener,
    PingEar,
    Serve,
    answer,
    echo_request,
)
from pytest_fsmredir.traffic.sockets import (
    KEPT_IN,
    SocketMaker,
    as_seen_by,
    emptied,
    loss,
    sent_by,
    sockname,
)
from pytest_fsmredir.traffic.stream import Stream
from pytest_fsmredir.traffic.sweep import sweep

BACKLOG = 1024
WINDOW = 64  # simultaneous flows of one sweep

SIDECAR_PORTS = range(61000, 63000)
"""Source ports of flows of UID 1500: above those that the kernel chooses for other flows.

The kernel keeps the connection tracking entry of a connection that its server has reset for ten
seconds. A new connection with the same addresses and ports follows the entry and meets no NAT rule
(nf_conntrack_tcp_packet, linux/net/netfilter/nf_conntrack_proto_tcp.c). The kernel chooses ports
from a new start every ten seconds (secure_ipv4_port_ephemeral, linux/net/core/secure_seq.c). So an
application's flow could get the port of a sidecar's, and pass the sidecar under correct rules.
"""

FORWARDING_PORTS = range(63000, 65000)
"""Source ports of flows that our own sidecar forwards.

It may be another process than the one that sends the flows of a check. Both can have a connection
to one destination at the same time, so they must not share ports: the kernel would refuse the
second connection (EADDRNOTAVAIL of __inet_check_established, linux/net/ipv4/inet_hashtables.c).
"""
_TRIES = 8


class Host:
    """Starts flows, listens, and reports fates; the same code serves namespaces and pods.

    Attributes:
        engine: The loop that drives the sockets.
        timeout_s: How long a flow may take before it counts as "no answer".
    """

    def __init__(self, engine: Engine, sockets: SocketMaker, timeout_s: float) -> None:
        self.engine, self.timeout_s = engine, timeout_s
        self._sockets = sockets
        self._sidecar_ports = cycle(SIDECAR_PORTS)
        self._forwarding_ports = cycle(FORWARDING_PORTS)

    def open(self, flow: Flow, dial: Dial = PLAIN) -> Connection:
        """Connect, wait for the fate, and return the connection, which the caller closes.

        Args:
            flow: The flow to open; its uid owns the socket (0 if it has none).
            dial: How to open it.
        """
        self.engine.settle()
        connection = self._dial(flow, dial)
        try:
            self.engine.pump(connection.is_settled, self.timeout_s)
        except BaseException:
            connection.close()
            raise
        connection.give_up()
        return connection

    def connect_all(self, flows: Iterable[Flow], dial: Dial = PLAIN) -> Iterator[Fate]:
        """Open many flows, several at once, and yield their fates in the given order.

        The path of these fates comes from the banner, so the sidecar must answer by itself.

        Args:
            flows: The flows to open.
            dial: How to open them. A source with port 0 gives each flow a different port.
                Redirected flows with the same source port look alike to connection tracking, and
                may be delayed.
        """
        pending = iter(flows)
        self.engine.settle()
        while batch := list(islice(pending, WINDOW)):
            with ONE_AT_A_TIME:
                fates = sweep(
                    self.engine, batch, lambda flow: self._socket(flow, dial), self.timeout_s
                )
            yield from fates

    def datagram(self, flow: Flow, dial: Dial = PLAIN, *, payload: bytes = b"") -> Fate:
        """Send one UDP datagram and wait for its answer, which repeats the payload."""
        with self.datagram_socket(flow) as sock:
            if dial.prepare is not None:
                dial.prepare(sock)
            fate = self.datagram_on(sock, flow, source=dial.source, payload=payload)
            return replace(fate, sent=_sent(sock, dial))

    def datagram_socket(self, flow: Flow) -> socket.socket:
        """Return a UDP socket of the flow's owner, which the caller closes."""
        return self._sockets(flow.destination.family, socket.SOCK_DGRAM, uid=flow.uid or 0)

    def datagram_on(
        self,
        sock: socket.socket,
        flow: Flow,
        *,
        source: Address | None = None,
        payload: bytes = b"",
    ) -> Fate:
        """Send one UDP datagram from a given socket, and wait for its answer."""
        if source is not None:
            _bind_datagrams(sock, source)
        if lost := _aim(sock, (flow.destination.host, flow.destination.port)):
            return Fate(flow, sockname(sock), (), lost)
        return self._ask(flow, sock, payload, lambda got: got.endswith(payload), sockname(sock))

    def inject(self, packet: Packet, *, uid: int = 0, interface: str | None = None) -> None:
        """Send a forged packet, including its addresses."""
        version = packet.destination.family
        with self._sockets(version, socket.SOCK_RAW, socket.IPPROTO_RAW, uid=uid) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if interface is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            try:
                sock.sendto(packet.raw, (packet.destination.host, 0))
            except OSError as error:
                if error.errno not in KEPT_IN:
                    raise

    @contextmanager
    def screen(
        self, flow: Flow, route: Route, far: Host, source: Address | None
    ) -> Iterator[Screen]:
        """Compare first packets from here with what a route does to them, for the block.

        Args:
            flow: A flow to one of the destinations.
            route: The route.
            far: The host that the destinations belong to.
            source: The source address; None lets the kernel choose.
        """
        version = flow.destination.family
        with ExitStack() as undo:
            near = undo.enter_context(closing(self._ear(version)))
            there = None if far is self else undo.enter_context(closing(far._ear(version)))
            packets = FirstPackets(self._source_of(flow) if source is None else source.host)
            sender = partial(self._sender, version)
            yield undo.enter_context(closing(Screen(route, packets, sender, near, there)))

    def ping(self, flow: Flow, *, payload: bytes = b"") -> Fate:
        """Send one ICMP echo request and wait for the reply, which repeats the payload."""
        version = flow.destination.family
        proto = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        with self._sockets(version, socket.SOCK_RAW, proto, uid=flow.uid or 0) as sock:
            lost = _aim(emptied(sock), (flow.destination.host, 0))
            own = sockname(sock)._replace(port=0)
            if lost:
                return Fate(flow, own, (), lost)
            identifier = len(self.engine.log) & 0xFFFF
            request = echo_request(version, identifier, payload)

            def is_reply(packet: bytes) -> bool:
                icmp = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
                return icmp[0] in (0, 129) and icmp[4:] == request[4:]

            return self._ask(flow, sock, request, is_reply, own)

    def stream(self, flow: Flow, *, source: Address | None = None) -> Stream | None:
        """Connect without waiting, as a forwarder does; None if the kernel refuses immediately."""
        for _ in range(_TRIES):
            sock = self._socket(flow, Dial(source=source), self._forwarding_ports)
            error = sock.connect_ex(tuple(flow.destination))
            if error in (0, errno.EINPROGRESS):
                return Stream(self.engine, sock)
            sock.close()
            if error != errno.EADDRNOTAVAIL:  # an old connection has this port: try the next
                break
        return None

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
            OSError: The address is in use or does not belong to this host.
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
        except BaseException:
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
        except BaseException:
            sock.close()
            raise
        return DatagramListener(self.engine, sock, by)

    def hear_pings(self, version: int) -> PingEar:
        """Log the echo requests that reach this host."""
        proto = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        return PingEar(self.engine, self._sockets(version, socket.SOCK_RAW, proto))

    def _ear(self, version: int) -> Ear:
        return Ear(emptied(self._sockets(version, socket.SOCK_RAW, socket.IPPROTO_TCP)))

    def _sender(self, version: int, owner: Owner) -> socket.socket:
        """Return a socket that sends whole packets."""
        uid, gid = owner
        return self._sockets(version, socket.SOCK_RAW, socket.IPPROTO_RAW, uid=uid, gid=gid)

    def _source_of(self, flow: Flow) -> str:
        """Return the source address that the kernel chooses for a flow; "any" without a route."""
        with self.datagram_socket(flow) as sock:
            _aim(sock, (flow.destination.host, 9))
            return sockname(sock).host

    def _dial(self, flow: Flow, dial: Dial) -> Connection:
        mark = len(self.engine.log)  # the caller's preparation may already send the SYN
        sock = self._socket(flow, dial)
        try:
            return LocalConnection(self.engine, flow, sock, mark, _sent(sock, dial))
        except BaseException:
            sock.close()
            raise

    def _socket(self, flow: Flow, dial: Dial, ports: Iterator[int] | None = None) -> socket.socket:
        version = 6 if dial.mapped else flow.destination.family
        sock = self._sockets(version, socket.SOCK_STREAM, uid=flow.uid or 0, gid=dial.gid)
        try:
            # A later check may listen on this source port. The kernel permits that, even while this
            # socket is in TIME_WAIT, if both sockets have the option (inet_csk_bind_conflict).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if dial.prepare is not None:
                dial.prepare(sock)
            if dial.source is not None:
                sock.bind(as_seen_by(sock, dial.source))
            elif flow.uid == SIDECAR_UID and dial.prepare is None:
                _bind_apart(sock, ports or self._sidecar_ports)
        except BaseException:
            sock.close()
            raise
        return sock

    def _ask(
        self,
        flow: Flow,
        sock: socket.socket,
        request: bytes,
        is_answer: Callable[[bytes], bool],
        own: Address,
    ) -> Fate:
        """Send one datagram, and pump until an answer or an ICMP error arrives."""
        self.engine.settle()
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


def _bind_apart(sock: socket.socket, ports: Iterator[int]) -> None:
    """Bind a socket to the next free port of a cycle, if there is one."""
    host = ANY[6 if sock.family == socket.AF_INET6 else 4]
    for port in islice(ports, len(SIDECAR_PORTS)):
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return


def _aim(sock: socket.socket, destination: tuple[str, int]) -> str | None:
    """Connect a socket of datagrams; return a word for the loss if the kernel has no route."""
    try:
        sock.connect(destination)
    except OSError as error:
        if error.errno not in KEPT_IN:
            raise
        return loss(error.errno)
    return None


def _sent(sock: socket.socket, dial: Dial) -> Sent:
    """Return what rules can match in the packets of a socket."""
    port = dial.source.port if dial.source else 0
    if not (dial.gid or port) and dial.prepare is None:
        return Sent()  # plain sockets need no system calls to find out what they send
    return sent_by(sock, dial.gid, port)


def _bind_datagrams(sock: socket.socket, address: Address) -> None:
    # A program that another thread is starting holds a copy of each descriptor for a moment, so a
    # closed socket may still occupy the port. The newest socket receives the datagrams.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(tuple(address))
