"""A mesh of one check: handles on pods of a cluster, and an end to all the check opened."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from pytest_fsmredir.agent.forms import Json, Report, address_form, bytes_form
from pytest_fsmredir.agent.preparation import preparation_form
from pytest_fsmredir.backends.base import Place, Programming, Sabotage, Tap
from pytest_fsmredir.backends.kubernetes.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.fleet import Order, Site
from pytest_fsmredir.backends.kubernetes.link import Link
from pytest_fsmredir.backends.kubernetes.manifests import APP, SIDECAR
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.sidecars.recorder import ANY, LOOPBACK
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.flow import Acceptance, Address, Direction, Fate, Flow, Protocol
from pytest_fsmredir.spec.reserved import ADMIN_PORT, INBOUND_PORT, OUTBOUND_PORT, SERVED_PORTS
from pytest_fsmredir.traffic.host import Connection
from pytest_fsmredir.traffic.tap import Packet

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend

APP_UID = 1000

_TAKEN_PORTS = {ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, *SERVED_PORTS}
_SWEEP = 256  # ports of a sweep that one command names

Prepare = Callable[[socket.socket], None]


class KubePlace:
    """A place as one check sees it; what it makes listen ends with the check."""

    def __init__(self, mesh: KubeMesh, site: Site, address: str, default_uid: int) -> None:
        self._mesh, self._site, self._default_uid = mesh, site, default_uid
        self.address = address
        self._listening: set[tuple[str, Address]] = set()

    @property
    def link(self) -> Link:
        """The line to the place's agents."""
        return self._mesh.backend.link(self._site)

    def connect(
        self,
        to: Place | str,
        port: int,
        *,
        uid: int | None = None,
        gid: int = 0,
        source: Address | None = None,
        answer: bool = True,
        interface: str = "eth0",
        prepare: Prepare | None = None,
        mapped: bool = False,
    ) -> Fate:
        """Open a TCP connection, learn its fate, and close it."""
        flow = self._flow(to, port, uid, interface=interface)
        return self._dial(flow, gid, source, prepare, answer=answer, mapped=mapped, keep=False).fate

    def open(
        self,
        to: Place | str,
        port: int,
        *,
        uid: int | None = None,
        gid: int = 0,
        source: Address | None = None,
        answer: bool = True,
        interface: str = "eth0",
        prepare: Prepare | None = None,
        mapped: bool = False,
    ) -> Connection:
        """Open a TCP connection for the caller's block."""
        flow = self._flow(to, port, uid, interface=interface)
        return self._dial(flow, gid, source, prepare, answer=answer, mapped=mapped, keep=True)

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Connect to many ports, several at once."""
        source = self._bound(self._flow(to, 0, uid))
        total = len(ports) if isinstance(ports, Sized) else None
        done, pending = 0, iter(ports)
        while batch := list(islice(pending, _SWEEP)):
            flows = [self._flow(to, port, uid) for port in batch]
            reports = self.link.ask(
                APP,
                "sweep",
                wait_s=len(batch) * self._mesh.timeout_s,
                to=flows[0].destination.host,
                ports=batch,
                uid=flows[0].uid or 0,
                source=address_form(source),
            )
            for flow, report in zip(flows, map(Report.of, reports), strict=True):
                done += 1
                self._mesh.observed += 1
                self._mesh.watch(done, total)
                yield self._told(flow, report)

    def datagram(
        self,
        to: Place | str,
        port: int,
        *,
        uid: int | None = None,
        source: Address | None = None,
        payload: bytes = b"",
        answer: bool = True,
    ) -> Fate:
        """Send one UDP datagram."""
        flow = self._flow(to, port, uid, Protocol.UDP)
        local = address_form(source or self._bound(flow))
        sent = bytes_form(payload)
        return self._send(flow, "datagram", answer=answer, source=local, payload=sent)

    def ping(self, to: Place | str) -> Fate:
        """Send one ICMP echo request."""
        return self._send(self._flow(to, 0, 0, Protocol.ICMP), "ping", answer=True)

    def inject(self, packet: Packet, *, uid: int | None = None) -> None:
        """Not offered here."""
        _not_offered("packets made by hand")

    def listen(self, port: int, *, host: str | None = None, uid: int | None = None) -> None:
        """Listen for TCP until the check ends."""
        if ("tcp", Address(host or ANY[self._mesh.family], port)) not in self._listening:
            self._mesh.undo.enter_context(self.listening(port, host=host, uid=uid))

    @contextmanager
    def listening(
        self, port: int, *, host: str | None = None, uid: int | None = None
    ) -> Iterator[None]:
        """Listen for TCP for the block."""
        address = Address(host or ANY[self._mesh.family], port)
        owner = self._default_uid if uid is None else uid
        number = self.link.ask(APP, "listen", at=address_form(address), uid=owner)
        self._listening.add(("tcp", address))
        try:
            yield
        finally:
            self._ended("tcp", address, number)

    def answer(self, flow: Flow) -> None:
        """Make this place answer a flow that arrives, if it does not already."""
        destination = flow.destination
        if flow.protocol is Protocol.TCP:
            any_address = Address(ANY[destination.family], destination.port)
            if not {("tcp", any_address), ("tcp", destination)} & self._listening:
                self._answer_tcp(destination)
        elif (flow.protocol.value, destination) not in self._listening:
            number = self.link.ask(
                APP,
                "hear",
                at=address_form(destination),
                protocol=flow.protocol.value,
                uid=self._default_uid,
            )
            self._listening.add((flow.protocol.value, destination))
            self._mesh.undo.callback(self._ended, flow.protocol.value, destination, number)

    def is_own(self, host: str) -> bool:
        """Whether an address leads here."""
        return host == self.address

    def _answer_tcp(self, destination: Address) -> None:
        self.listen(destination.port)

    def _ended(self, protocol: str, address: Address, number: Json) -> None:
        self._listening.discard((protocol, address))
        self.link.ask(APP, "unlisten", number=number)

    def _bound(self, flow: Flow) -> Address | None:
        """Return the local address to bind by default, None to leave it to the kernel."""
        del flow
        return None

    def _flow(
        self,
        to: Place | str,
        port: int,
        uid: int | None,
        protocol: Protocol = Protocol.TCP,
        interface: str = "eth0",
    ) -> Flow:
        host = to if isinstance(to, str) else to.address
        return Flow(
            Direction.OUTBOUND,
            Address(host, port),
            protocol,
            uid=self._default_uid if uid is None else uid,
            interface=interface,
        )

    def _dial(
        self,
        flow: Flow,
        gid: int,
        source: Address | None,
        prepare: Prepare | None,
        *,
        answer: bool,
        mapped: bool,
        keep: bool,
    ) -> RemoteConnection:
        mesh = self._mesh
        if answer:
            mesh.answerer(self, flow.destination.host).answer(flow)
        mesh.observed += 1
        mark = mesh.mark()
        number, form = self.link.ask(
            APP,
            "open",
            wait_s=mesh.timeout_s,
            to=address_form(flow.destination),
            uid=flow.uid or 0,
            gid=gid,
            source=address_form(source or self._bound(flow)),
            mapped=mapped,
            prepare=preparation_form(prepare),
            keep=keep,
        )
        report = Report.of(form)
        connection = RemoteConnection(flow, self.link, APP, number, lambda: mesh.since(mark))
        connection.take(report)
        mesh.learn(report)
        return connection

    def _told(self, flow: Flow, report: Report) -> Fate:
        self._mesh.learn(report)
        path = (report.answered_by,) if report.answered_by is not None else ()
        return Fate(flow, report.client, path, report.lost)

    def _send(self, flow: Flow, name: str, *, answer: bool, **arguments: Json) -> Fate:
        mesh = self._mesh
        if answer:
            mesh.answerer(self, flow.destination.host).answer(flow)
        mesh.observed += 1
        mesh.fetch()
        mark = mesh.mark()
        form = self.link.ask(
            APP,
            name,
            wait_s=mesh.timeout_s,
            to=address_form(flow.destination),
            uid=flow.uid or 0,
            **arguments,
        )
        report = Report.of(form)
        mesh.fetch()
        return Fate(flow, report.client, mesh.since(mark), report.lost)


class Outside(KubePlace):
    """A pod outside the mesh, or the node, dialling from its own address."""

    def _bound(self, flow: Flow) -> Address | None:
        same_family = Address(self.address, 0).family == flow.destination.family
        return Address(self.address, 0) if same_family else None

    def _flow(
        self,
        to: Place | str,
        port: int,
        uid: int | None,
        protocol: Protocol = Protocol.TCP,
        interface: str = "eth0",
    ) -> Flow:
        del uid  # who a client outside runs as is nothing to the pod
        host = to if isinstance(to, str) else to.address
        return Flow(Direction.INBOUND, Address(host, port), protocol, None, interface)


class KubePod(KubePlace):
    """A handle on a pod for one check."""

    def __init__(self, mesh: KubeMesh, site: Site) -> None:
        super().__init__(mesh, site, of_family(site.addresses, mesh.family), APP_UID)
        self.sidecar = KubeSidecar(mesh, site)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, IPv4 first."""
        return self._site.addresses

    @property
    def second_address(self) -> str:
        """Not offered here."""
        _not_offered("a second interface")

    @property
    def second_interface_address(self) -> str:
        """Not offered here."""
        _not_offered("a second interface")

    def program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Not offered here: an init container runs once."""
        _not_offered("programming a pod again")

    def try_program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
        sabotage: Sabotage | None = None,
    ) -> Programming:
        """Not offered here: an init container runs once."""
        _not_offered("programming a pod again")

    def holding_xtables_lock(self) -> AbstractContextManager[None]:
        """Not offered here."""
        _not_offered("sabotage")

    def nested(self) -> Place:
        """Not offered here."""
        _not_offered("nested containers")

    def tap(self) -> AbstractContextManager[Tap]:
        """Not offered here."""
        _not_offered("seeing packets")

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Not offered here."""
        _not_offered("running programs in a pod")

    def limit_source_ports(self, low: int, high: int) -> None:
        """Not offered here."""
        _not_offered("kernel settings")

    def forget_gateway(self) -> None:
        """Not offered here."""
        _not_offered("kernel settings")

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Every acceptance of the run so far."""
        self._mesh.fetch()
        return tuple(self._mesh.backend.ledger.log)

    def is_own(self, host: str) -> bool:
        """Whether an address leads back to this pod."""
        return host in self._site.addresses

    def _answer_tcp(self, destination: Address) -> None:
        if destination.port not in _TAKEN_PORTS:
            self.listen(destination.port)


class KubeSidecar:
    """A handle on a pod's sidecar."""

    def __init__(self, mesh: KubeMesh, site: Site) -> None:
        self._mesh, self._site = mesh, site

    @contextmanager
    def forwarding(self, services: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
        """Pass captured flows on for the block."""
        self._ask("forward", on=True, services=dict(services))
        self._mesh.forwarding += 1
        try:
            yield
        finally:
            self._mesh.forwarding -= 1
            self._ask("forward", on=False, services={})

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have no sidecar for the block."""
        self._ask("stop")
        try:
            yield
        finally:
            self._ask("start")

    def _ask(self, name: str, **arguments: Json) -> None:
        self._mesh.backend.link(self._site).ask(SIDECAR, name, **arguments)


class KubeMesh:
    """What one check is given; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        observed: Flows sent and programming attempts made, to tell a check that looked at nothing.
        watch: Called after each flow of :meth:`KubePlace.connect_all`.
        forwarding: Sidecars that forward at the moment.
    """

    def __init__(
        self,
        backend: KubernetesBackend,
        family: int,
        iptables: IptablesVariant,
        *,
        timeout_s: float,
        exhaustive: bool,
    ) -> None:
        self.backend, self.family, self.iptables = backend, family, iptables
        self.timeout_s, self.exhaustive = timeout_s, exhaustive
        self.observed = 0
        self.watch: Callable[[int, int | None], None] = lambda _done, _total: None
        self.forwarding = 0
        self.undo = ExitStack()
        world = backend.world
        self.server = Outside(self, world.server, of_family(world.server.addresses, family), 0)
        self.client = Outside(self, world.client, of_family(world.client.addresses, family), 0)
        self.node = Outside(self, world.node, of_family(world.node.addresses, family), 0)
        self._pods: list[KubePod] = []

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
        second_interface: bool = False,
    ) -> KubePod:
        """Return a programmed pod."""
        if second_interface:
            _not_offered("a second interface")
        order = self._order(annotations, mesh_config)
        site = self._fresh(order) if fresh else self.backend.shared_site(order)
        self._require(site.programming, order.configuration)
        return self._handle(site)

    def bare_pod(self, *, second_interface: bool = False) -> KubePod:
        """Return a pod that nobody has programmed."""
        if second_interface:
            _not_offered("a second interface")
        return self._handle(self._fresh(Order(Configuration(), self.iptables, bare=True)))

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Have a fresh pod programmed, and return how it ended."""
        self.observed += 1
        return self._fresh(self._order(annotations, mesh_config)).programming

    def programs_started(self) -> int:
        """Not offered here."""
        _not_offered("sabotage")

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def beyond_second_interface(self) -> str:
        """Not offered here."""
        _not_offered("a second interface")

    def silent_address(self) -> str:
        """Not offered here."""
        _not_offered("packets made by hand")

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    def answerer(self, dialler: KubePlace, host: str) -> KubePlace:
        """Return the place that an address belongs to, as the dialler sees it."""
        if host.startswith("127.") or host == "::1":
            return dialler
        places: list[KubePlace] = [*self._pods, self.server, self.client, self.node]
        # The node stands in for every address that is nobody's.
        return next((place for place in places if place.is_own(host)), self.node)

    def mark(self) -> int:
        """Return how many acceptances are known."""
        return len(self.backend.ledger.log)

    def since(self, mark: int) -> tuple[Acceptance, ...]:
        """Return what was accepted since, the whole way where sidecars forward."""
        if self.forwarding:
            self.fetch()
        return tuple(self.backend.ledger.log[mark:])

    def learn(self, report: Report) -> None:
        """Log what a flow has shown, and look further where that cannot be all."""
        whole = report.lost is None and not self.forwarding
        if not whole or not self.backend.ledger.note(report.answered_by):
            self.fetch()

    def fetch(self) -> None:
        """Learn what all places of this check have accepted."""
        places: list[KubePlace] = [*self._pods, self.server, self.client, self.node]
        links = {id(place.link): place.link for place in places}
        self.backend.ledger.fetch(links.values())

    def close(self) -> None:
        """End all that the check opened."""
        self.undo.close()

    def _handle(self, site: Site) -> KubePod:
        pod = KubePod(self, site)
        self._pods.append(pod)
        return pod

    def _fresh(self, order: Order) -> Site:
        site = self.backend.fresh_site(order)
        self.undo.callback(self.backend.remove, site)
        return site

    def _order(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
    ) -> Order:
        return Order(Configuration(annotations or {}, mesh_config or {}), self.iptables)

    def _require(self, programming: Programming, configuration: Configuration) -> None:
        """Fail the check when a configuration that is valid was refused."""
        if programming.refused:
            lists = {k.value: v for k, v in configuration.effective().items() if v}
            what = f"this configuration: {lists}" if lists else "the default configuration"
            raise AssertionError(f"the implementation refused {what}: {programming.reason}")


def remote_subnet(family: int, number: int) -> IPv4Network | IPv6Network:
    """Return a range of 256 addresses that belong to nobody (RFC 2544, RFC 3849)."""
    v4, v6 = f"198.18.{2 * number}.0/24", f"2001:db8:{number + 16:x}::/120"
    return ip_network(v4 if family == 4 else v6)


def of_family(addresses: Sequence[str], family: int) -> str:
    """Return the first address of a family.

    Raises:
        BackendError: There is none.
    """
    for address in addresses:
        if Address(address, 0).family == family:
            return address
    raise BackendError(f"the cluster gives its pods no IPv{family} addresses")


def _not_offered(what: str) -> NoReturn:
    raise BackendError(f"this backend does not offer {what}")
