"""Pairs of pods for the benchmark: one with the rules of the implementation, one without rules."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice
from time import perf_counter
from typing import NamedTuple

from pytest_fsmredir.backends.measuring import (
    TRACKING,
    Amounts,
    Case,
    Load,
    Metric,
    Side,
    UnmeasuredError,
)
from pytest_fsmredir.backends.netns.accepting import WORDS, answering, drain, who_accepts
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.counters import Counter
from pytest_fsmredir.backends.netns.kernel_memory import Enter, memory_gauge
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.tracked import track_connections
from pytest_fsmredir.backends.netns.wiring import CLIENT, SERVER, family_of
from pytest_fsmredir.backends.places import APP_UID
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.model.reserved import ANY, INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID
from pytest_fsmredir.traffic.load import (
    LoadError,
    connect_one_by_one,
    datagrams,
    first_bytes,
    patient,
    percentile,
    stream,
)
from pytest_fsmredir.traffic.sockets import abort, set_transparent

APP_PORT, DATA_PORT, DATAGRAM_PORT = 8080, 8081, 9090
_BACKLOG = 64
_SPACE: Mapping[int, IPv4Network | IPv6Network] = {
    4: IPv4Network("100.64.0.0/10"),
    6: IPv6Network("2001:db8:4000::/36"),
}
_LENGTH = {4: 28, 6: 64}


def ranges(family: int, count: int) -> list[str]:
    """Return ranges that do not touch each other, so that no implementation can merge them."""
    space: IPv4Network | IPv6Network = _SPACE[family]
    every = space.subnets(new_prefix=_LENGTH[family])
    return [str(network) for network in islice(every, 0, 2 * count, 2)]


class _Route(NamedTuple):
    """Where the traffic of a case starts, where it goes, and who accepts it.

    Attributes:
        namespace: Where the client is.
        uid: The owner of the client's socket.
        source: The client's address; empty for the address that the kernel chooses.
        to: The destination.
        acceptor: The listener that has to accept it.
    """

    namespace: Namespace
    uid: int
    source: str
    to: tuple[str, int]
    acceptor: str


class NetnsBench:
    """Makes pairs of pods for one variant.

    Attributes:
        sources: How metrics are measured, by metric.
        resolutions: The least difference that is seen, by metric.
        unavailable: Why a metric is not measured, by metric.

    Args:
        backend: Makes the pods; the caller closes it.
        family: IP version of the traffic.
        iptables: The iptables variant.
        amounts: How much one measurement sends.
        timeout_s: How long a flow may take.
        with_sidecar: The sidecar is a real one, so the time to the first byte can be measured.
    """

    def __init__(
        self,
        backend: NetnsBackend,
        family: int,
        iptables: IptablesVariant,
        *,
        amounts: Amounts,
        timeout_s: float,
        with_sidecar: bool,
    ) -> None:
        self.backend, self.family, self.iptables = backend, family, iptables
        self.amounts, self.timeout_s, self.with_sidecar = amounts, timeout_s, with_sidecar
        unavailable: dict[str, str] = {}
        self.counter: Counter | None = None
        self._undo = ExitStack()
        self.gauge = memory_gauge()
        self._undo.callback(self.gauge.close)
        sources = {Metric.MEMORY: self.gauge.source}
        self.resolutions: Mapping[Metric, float] = {Metric.MEMORY: self.gauge.resolution}
        try:
            self.counter = Counter()
        except OSError as error:
            why = f"the machine does not count them ({error.strerror})"
            unavailable[Metric.INSTRUCTIONS] = why
        else:
            self._undo.callback(self.counter.close)
            sources[Metric.INSTRUCTIONS] = "perf_event_open(2), as perf stat instructions:k"
        if not with_sidecar:
            why = "needs a real sidecar: --fsm-sidecar pipy --fsm-pipy-bin PATH"
            unavailable[Metric.FIRST_BYTE] = why
        self.sources: Mapping[Metric, str] = sources
        self.unavailable: Mapping[str, str] = unavailable
        self._unavailable = unavailable
        self.server = self.listener(backend.world, APP_PORT)
        self._undo.callback(self.server.close)

    def listener(self, namespace: Namespace, port: int, uid: int = 0) -> socket.socket:
        """Return a patient socket that listens on every address; the caller closes it."""
        sock = namespace.socket(self.family, socket.SOCK_STREAM, uid=uid)
        with ExitStack() as undo:
            undo.callback(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if uid == SIDECAR_UID:
                set_transparent(sock)  # for an implementation with TPROXY
            sock.bind((ANY[self.family], port))
            sock.listen(_BACKLOG)
            undo.pop_all()
        return patient(sock, self.timeout_s)

    @contextmanager
    def pair(self, entries: int) -> Iterator[NetnsPair]:
        """Make pods, one of them with that many excluded ranges; remove them after the block."""
        listed = ranges(self.family, entries)
        name = ListName.OUTBOUND_IP_RANGE_EXCLUSION.annotation
        lists = {str(name): ",".join(listed)} if listed else {}
        with ExitStack() as undo:
            sites = {side: self._pod(undo, {}) for side in (Side.PLAIN, Side.TRACKED)}
            sites[Side.RULES] = self._pod(undo, lists)
            if not self._tracks(sites[Side.TRACKED]):
                del sites[Side.TRACKED]
            yield NetnsPair(self, sites, listed, undo)

    def close(self) -> None:
        """Close the listeners and the counter."""
        self._undo.close()

    def _pod(self, undo: ExitStack, lists: Mapping[str, str]) -> Sandbox:
        site = self.backend.new_site(Configuration(annotations=lists), second_interface=False)
        undo.callback(site.close)
        return site

    def _tracks(self, site: Sandbox) -> bool:
        """Have the kernel track the connections of a pod; False if this machine cannot."""
        if TRACKING not in self._unavailable:
            try:
                track_connections(site.namespace, self.iptables, self.family)
            except FsmRedirError as error:
                self._unavailable[TRACKING] = str(error)
        return TRACKING not in self._unavailable


class NetnsPair:
    """A pod that the implementation has programmed, a pod without rules, and one that tracks.

    The last has no rules of the implementation, but its kernel tracks connections.

    The sockets of the benchmark replace the recorder: they accept a connection when it is measured,
    so the work of a sidecar is no part of the times.

    Attributes:
        sides: Its pods.
        programming_s: Seconds that the implementation took.
        memory: Bytes of kernel memory that its rules take.
        loads: What can be sent in which case.
    """

    def __init__(
        self,
        bench: NetnsBench,
        sites: Mapping[Side, Sandbox],
        listed: Sequence[str],
        undo: ExitStack,
    ) -> None:
        self._bench, self._sites, self._undo = bench, sites, undo
        self._excluded = str(ip_network(listed[-1])[1]) if listed else ""
        self.sides = tuple(sites)
        self.programming_s, self.memory = self._program(sites[Side.RULES])
        self.loads = tuple(self._loads())
        self._listeners: dict[tuple[Side, str], socket.socket] = {}

    def measure(self, side: Side, load: Load, case: Case) -> Mapping[Metric, float]:
        """Send a load in one of the pods, and return what it measures."""
        work: dict[Load, Callable[[Side, Case], dict[Metric, float]]] = {
            Load.CONNECTIONS: self._connections,
            Load.FIRST_BYTES: self._first_bytes,
            Load.STREAM: self._stream,
            Load.DATAGRAMS: self._datagrams,
        }
        try:
            return work[load](side, case)
        except LoadError as error:
            raise UnmeasuredError(str(error)) from None
        except OSError as error:
            raise UnmeasuredError(error.strerror or str(error)) from None

    def _program(self, site: Sandbox) -> tuple[float, float]:
        bench, backend, confined = self._bench, self._bench.backend, self._bench.backend.confinement
        elapsed, programmings = 0.0, []

        def work(enter: Enter) -> None:
            nonlocal elapsed

            def limit() -> None:
                enter()
                confined.limit()

            begun = perf_counter()
            limited = replace(confined, limit=limit)
            programmings.append(backend.program(site, bench.iptables, limited))
            elapsed = perf_counter() - begun

        taken = bench.gauge.taken(work)
        for each in programmings:
            if not each.accepted:
                raise UnmeasuredError(repr(each))
        return elapsed, taken

    def _loads(self) -> Iterator[tuple[Load, Case]]:
        outbound = [Case.CAPTURED, *([Case.EXCLUDED] if self._excluded else []), Case.DIRECT]
        if self._bench.with_sidecar:  # before the sidecar is replaced
            yield from ((Load.FIRST_BYTES, case) for case in outbound[:-1])
        yield from ((Load.CONNECTIONS, case) for case in (*outbound, Case.INBOUND))
        yield from ((Load.STREAM, case) for case in outbound)
        yield Load.DATAGRAMS, Case.UDP

    def _route(self, side: Side, case: Case) -> _Route:
        site, server = self._sites[side], SERVER[self._bench.family]
        captured = side is Side.RULES
        if case is Case.INBOUND:
            address = next(a for a in site.addresses if family_of(a) == self._bench.family)
            world = self._bench.backend.world
            acceptor = "inbound" if captured else "app"
            return _Route(world, 0, CLIENT[self._bench.family], (address, APP_PORT), acceptor)
        to = self._excluded if case is Case.EXCLUDED else server
        uid = SIDECAR_UID if case is Case.DIRECT and captured else APP_UID
        acceptor = "outbound" if case is Case.CAPTURED and captured else "server"
        return _Route(site.namespace, uid, "", (to, APP_PORT), acceptor)

    def _clients(self, route: _Route, count: int) -> list[socket.socket]:
        made = []
        for _ in range(count):
            sock = route.namespace.socket(self._bench.family, socket.SOCK_STREAM, uid=route.uid)
            if route.source:
                sock.bind((route.source, 0))
            made.append(patient(sock, self._bench.timeout_s))
        return made

    def _acceptor(self, side: Side, name: str) -> socket.socket:
        """Return a listener; all of a pod are opened at once, in place of the sidecar's."""
        if name == "server":
            return self._bench.server
        if (side, name) not in self._listeners:
            site = self._sites[side]
            site.sidecar.stop()
            for each, port, uid in (
                ("outbound", OUTBOUND_PORT, SIDECAR_UID),
                ("inbound", INBOUND_PORT, SIDECAR_UID),
                ("app", APP_PORT, APP_UID),
            ):
                sock = self._bench.listener(site.namespace, port, uid)
                self._undo.callback(sock.close)
                self._listeners[side, each] = sock
        return self._listeners[side, name]

    def _aimed(self, side: Side, case: Case) -> tuple[_Route, socket.socket]:
        """Return the route of a case and its listener, after a connection that shows the path.

        Raises:
            UnmeasuredError: Another listener accepts the connection, or it fails.
        """
        route = self._route(side, case)
        listener = self._acceptor(side, route.acceptor)
        names = ("outbound", "inbound", "app", "server")
        every = {name: self._acceptor(side, name) for name in names}
        drain(every.values())
        (probe,) = self._clients(route, 1)
        with probe:
            try:
                probe.connect(route.to)
            except OSError as error:
                why = "no answer" if isinstance(error, BlockingIOError) else error.strerror
                raise UnmeasuredError(f"the connection failed: {why}") from None
            by = who_accepts(every, self._bench.timeout_s)
            abort(probe)
        if by != route.acceptor:
            raise UnmeasuredError(f"accepted by {WORDS[by]}, not by {WORDS[route.acceptor]}")
        return route, listener

    def _connections(self, side: Side, case: Case) -> dict[Metric, float]:
        route, listener = self._aimed(side, case)
        count, counter = self._bench.amounts.connections, self._bench.counter
        clients = self._clients(route, count)
        if counter is not None:
            counter.start()
        found = connect_one_by_one(clients, route.to, listener)
        instructions = counter.stop() / count if counter is not None else 0.0
        return {
            Metric.CONNECT_P50: percentile(found.latencies_ns, 0.50) / 1e9,
            Metric.CONNECT_P99: percentile(found.latencies_ns, 0.99) / 1e9,
            Metric.RATE: found.per_second,
            **({Metric.INSTRUCTIONS: instructions} if counter is not None else {}),
        }

    def _first_bytes(self, side: Side, case: Case) -> dict[Metric, float]:
        route = self._route(side, case)
        site = self._sites[side]
        site.sidecar.forwarding = True  # captured connections go through the real sidecar
        with answering(self._bench.listener(self._bench.backend.world, DATA_PORT)):
            clients = self._clients(route, self._bench.amounts.first_bytes)
            found = first_bytes(clients, (route.to[0], DATA_PORT))
        site.host.engine.settle()  # reads the records of the sidecar
        return {Metric.FIRST_BYTE: percentile(found, 0.50) / 1e9}

    def _stream(self, side: Side, case: Case) -> dict[Metric, float]:
        route, listener = self._aimed(side, case)
        (client,) = self._clients(route, 1)
        with client:
            client.connect(route.to)
            accepted, _ = listener.accept()
            with accepted:
                rate = stream(client, accepted, self._bench.amounts.stream, self._bench.timeout_s)
        return {Metric.STREAM: rate}

    def _datagrams(self, side: Side, case: Case) -> dict[Metric, float]:
        del case
        bench, namespace = self._bench, self._sites[side].namespace
        world = bench.backend.world.socket(bench.family, socket.SOCK_DGRAM)
        sender = namespace.socket(bench.family, socket.SOCK_DGRAM, uid=APP_UID)
        with patient(world, bench.timeout_s) as receiver, patient(sender, bench.timeout_s):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            receiver.bind((ANY[bench.family], DATAGRAM_PORT))
            sender.connect((SERVER[bench.family], DATAGRAM_PORT))
            return {Metric.DATAGRAMS: datagrams(sender, receiver, bench.amounts.datagrams)}
