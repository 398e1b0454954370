"""Code shared by the places and meshes of all backends: build a flow, and make it answered."""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import require
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Fate, Flow, Protocol, Route
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    ANY,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
)
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial, Dialling, Sending
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME

APP_UID = 1000
"""The user id of the applications in pods."""

SIDECAR_PORTS = frozenset({ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, *SERVED_PORTS})
"""Ports of a pod that are reserved for its sidecar and health responder."""

End = Callable[[], None]


class Surroundings(typing.Protocol):
    """The part of a check's mesh that its places use.

    Attributes:
        family: IP version of the check.
        undo: Cleanup actions that run when the check ends.
        observed: Flows sent and programming attempts made.
        watch: Called after each flow of a sweep; see
            :class:`pytest_fsmredir.backends.protocols.JudgedMesh`.
    """

    family: int
    undo: ExitStack
    observed: int
    watch: Callable[[int, int | None], None]


class WithoutFirstPackets:
    """A place that sends no first packets alone: whole connections show the route of each flow."""

    def not_taking(
        self, route: Route, destinations: Iterable[Address], *, uid: int | None = None
    ) -> list[Address]:
        """Return all."""
        del route, uid
        return list(destinations)

    def owners_not_taking(
        self, route: Route, to: Place | str, port: int, owners: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Return all."""
        del route, to, port
        return list(owners)


class BasePlace(WithoutFirstPackets, ABC):
    """A place as one check sees it. Its listeners close when the check ends.

    Args:
        mesh: The mesh of the check.
        address: The place's primary address.
        default_uid: Owner of sockets if no user is given.
    """

    _direction = Direction.OUTBOUND

    def __init__(self, mesh: Surroundings, address: str, default_uid: int) -> None:
        self.address = address
        self._mesh, self._default_uid = mesh, default_uid
        self._listening: set[tuple[Protocol, Address]] = set()

    def connect(self, to: Place | str, port: int, **how: typing.Unpack[Dialling]) -> Fate:
        """Open a TCP connection, learn its fate, and close it."""
        with ONE_AT_A_TIME, self._dialled(to, port, keep=False, **how) as connection:
            return without_loop(connection.fate)

    def open(self, to: Place | str, port: int, **how: typing.Unpack[Dialling]) -> Connection:
        """Open a TCP connection for the caller's block."""
        with ONE_AT_A_TIME, ExitStack() as undo:
            connection = undo.enter_context(self._dialled(to, port, keep=True, **how))
            without_loop(connection.fate)
            undo.pop_all()
            return connection

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Connect to many ports, several at once."""
        asked = Dial(uid=uid)
        dial = self._completed(asked, self._flow(to, 0, asked))
        flows = (self._flow(to, port, asked) for port in ports)
        total = len(ports) if isinstance(ports, Sized) else None
        for done, fate in enumerate(self._open_all(flows, dial), 1):
            self._mesh.observed += 1
            self._mesh.watch(done, total)
            yield without_loop(fate)

    def datagram(
        self, to: Place | str, port: int, *, payload: bytes = b"", **how: typing.Unpack[Sending]
    ) -> Fate:
        """Send one UDP datagram."""
        asked = Dial(**how)
        flow = self._flow(to, port, asked, Protocol.UDP)
        dial = self._completed(asked, flow)
        with ONE_AT_A_TIME:
            fate = self._send(self._sent(flow, answer=dial.answer), dial, payload)
            return _with_payload(fate, payload)

    def ping(self, to: Place | str, *, uid: int | None = None, payload: bytes = b"") -> Fate:
        """Send one ICMP echo request."""
        with ONE_AT_A_TIME:
            flow = self._flow(to, 0, Dial(uid=uid), Protocol.ICMP)
            return _with_payload(self._ping(self._sent(flow), payload), payload)

    def listen(self, port: int, *, host: str | None = None, uid: int | None = None) -> None:
        """Listen for TCP until the check ends."""
        with ONE_AT_A_TIME:
            if (Protocol.TCP, self._at(host, port)) in self._listening:
                return
            self._mesh.undo.enter_context(self.listening(port, host=host, uid=uid))

    @contextmanager
    def listening(
        self, port: int, *, host: str | None = None, uid: int | None = None
    ) -> Iterator[None]:
        """Listen for TCP for the block."""
        with self._heard(Protocol.TCP, self._at(host, port), uid):
            yield

    def answer(self, flow: Flow) -> None:
        """Make this place answer a flow to it, if it does not already."""
        protocol, destination = flow.protocol, flow.destination
        anywhere = Address(ANY[destination.family], destination.port)
        if protocol is Protocol.TCP:
            if not {(protocol, anywhere), (protocol, destination)} & self._listening:
                self._answer_tcp(destination.port)
        else:
            # A raw socket receives pings to all addresses: a second one would count each twice.
            at = anywhere if protocol is Protocol.ICMP else destination
            if (protocol, at) not in self._listening:
                self._mesh.undo.enter_context(self._heard(protocol, at, None))

    def is_own(self, host: str) -> bool:
        """Whether an address leads here."""
        return host == self.address

    def _dialled(
        self, to: Place | str, port: int, *, keep: bool, **how: typing.Unpack[Dialling]
    ) -> Connection:
        asked = Dial(**how)
        flow = self._flow(to, port, asked)
        dial = self._completed(asked, flow)
        return self._open(self._sent(flow, answer=dial.answer), dial, keep=keep)

    @abstractmethod
    def _answerer(self, host: str) -> BasePlace:
        """Return the place that an address belongs to, seen from this place."""

    @abstractmethod
    def _open(self, flow: Flow, dial: Dial, *, keep: bool) -> Connection:
        """Open a TCP connection; without ``keep`` it is inspected once and closed."""

    @abstractmethod
    def _open_all(self, flows: Iterable[Flow], dial: Dial) -> Iterator[Fate]:
        """Open connections to ports of one destination, several at once."""

    @abstractmethod
    def _send(self, flow: Flow, dial: Dial, payload: bytes) -> Fate:
        """Send a datagram."""

    @abstractmethod
    def _ping(self, flow: Flow, payload: bytes) -> Fate:
        """Send an ICMP echo request."""

    @abstractmethod
    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        """Start to listen or answer, and return a function that stops it."""

    def _answer_tcp(self, port: int) -> None:
        self.listen(port)

    @contextmanager
    def _heard(self, protocol: Protocol, address: Address, uid: int | None) -> Iterator[None]:
        with ONE_AT_A_TIME:
            end = self._hear(protocol, address, self._default_uid if uid is None else uid)
            self._listening.add((protocol, address))
        try:
            yield
        finally:
            with ONE_AT_A_TIME:
                self._listening.discard((protocol, address))
                end()

    def _at(self, host: str | None, port: int) -> Address:
        return _address(ANY[self._mesh.family] if host is None else host, port)

    def _bound(self, flow: Flow) -> Address | None:
        """Return the default local address to bind; None lets the kernel choose."""
        del flow
        return None

    def _flow(
        self, to: Place | str, port: int, dial: Dial, protocol: Protocol = Protocol.TCP
    ) -> Flow:
        address = _address(to if isinstance(to, str) else to.address, port)
        return Flow(self._direction, address, protocol, self._owner(dial.uid), dial.interface)

    def _completed(self, dial: Dial, flow: Flow) -> Dial:
        """Return a dial with the owner and the local address of a flow."""
        source = _local(dial.source) or self._bound(flow)
        return replace(dial, uid=flow.uid, source=source)

    def _sent(self, flow: Flow, *, answer: bool = True) -> Flow:
        """Make the destination answer a flow if ``answer`` is set, and return the flow."""
        if answer:
            self._answerer(flow.destination.host).answer(flow)
        self._mesh.observed += 1
        return flow

    def _owner(self, uid: int | None) -> int | None:
        """Return the owner of a socket; None if the pod's rules cannot see it."""
        return self._default_uid if uid is None else uid


class OutsidePlace(BasePlace):
    """A place outside the mesh that connects from its own address."""

    _direction = Direction.INBOUND

    def _bound(self, flow: Flow) -> Address | None:
        same_family = Address(self.address, 0).family == flow.destination.family
        return Address(self.address, 0) if same_family else None

    def _owner(self, uid: int | None) -> int | None:
        del uid  # the pod cannot see the user of an outside client
        return None


def _address(host: str, port: int) -> Address:
    """Return the address that a test passes.

    Raises:
        BackendError: It is not an IP address. This process, outside any pod, would resolve a name.
    """
    if not _is_ip_address(host):
        raise BackendError(
            f"{host!r} is not an IP address such as 192.0.2.1, and names are not resolved: give the"
            " address (in Kubernetes, ask the pod's resolver: workloads.resolve(pod, name))"
        )
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise BackendError(f"{port!r} is not a port: give a number from 0 to 65535")
    return Address(host, port)


def _local(source: Address | None) -> Address | None:
    """Return the local address that a test passes, or None.

    Raises:
        BackendError: It is not an IP address.
    """
    if source is None:
        return None
    if not isinstance(source, tuple) or len(source) != 2:
        raise BackendError(
            f"source={source!r} is not an address with a port: give, for example,"
            " Address(pod.address, 0)"
        )
    return _address(*source)


@lru_cache
def _is_ip_address(host: object) -> bool:
    try:
        return isinstance(host, str) and bool(ip_address(host))
    except ValueError:
        return False


Pod = typing.TypeVar("Pod", bound=BasePlace)


def suspects_of(fate: Fate, pods: Sequence[Pod]) -> list[Pod]:
    """Return the pods that a flow left and reached; the newest pod for a flow on loopback."""
    flow = fate.flow
    ends = [flow.destination.host]
    if flow.direction is Direction.OUTBOUND and fate.client is not None:
        ends.insert(0, fate.client.host)
    found = [pod for host in ends for pod in pods if pod.is_own(host)]
    if not found and flow.direction is Direction.OUTBOUND:
        found = [*pods[-1:]]
    return list({id(pod): pod for pod in found}.values())


def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address."""
    return host.startswith("127.") or host == "::1"


def _with_payload(fate: Fate, payload: bytes) -> Fate:
    """Return the fate of a datagram or an echo request with the length of what it carried."""
    return replace(fate, sent=fate.sent._replace(payload=len(payload)))


@lru_cache
def remote_subnet(family: int, number: int) -> IPv4Network | IPv6Network:
    """Return a range of 256 reserved addresses (RFC 2544, RFC 3849)."""
    v4, v6 = f"198.18.{2 * number}.0/24", f"2001:db8:{number + 16:x}::/120"
    return ip_network(v4 if family == 4 else v6)


def without_loop(fate: Fate) -> Fate:
    """Return the fate of a flow; a loop fails the check at once.

    A sidecar that dials itself uses ever more resources, so later observations of the same pod
    are meaningless.

    Raises:
        Unmet: The flow loops.
    """
    require(fate.without_loop)
    return fate


def require_accepted(programming: Programming, configuration: Configuration) -> None:
    """Fail the check if the implementation refused a valid configuration.

    Raises:
        Unmet: The implementation refused the configuration.
    """
    require(replace(programming, configuration=configuration).programmed)
