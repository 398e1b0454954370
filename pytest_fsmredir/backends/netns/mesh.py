"""A mesh of one check: handles on pods and on the world, and an end to all the check opened."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from pytest_fsmredir.backends.base import Place, Programming, Sabotage
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import Confinement
from pytest_fsmredir.backends.netns.sabotage import held_lock
from pytest_fsmredir.backends.netns.site import Site, confined
from pytest_fsmredir.backends.netns.wiring import (
    BEHIND_SECOND_INTERFACE,
    CLIENT,
    NODE,
    SERVER,
    SILENT,
    forget_gateway,
    open_tap,
    wire_nested,
)
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.sidecars.base import SidecarProcess
from pytest_fsmredir.sidecars.recorder import ANY, LOOPBACK
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.flow import Acceptance, Address, Direction, Fate, Flow, Protocol
from pytest_fsmredir.spec.reserved import ADMIN_PORT, INBOUND_PORT, OUTBOUND_PORT, SERVED_PORTS
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.tap import Packet, Tap

if TYPE_CHECKING:
    from pytest_fsmredir.backends.netns.backend import NetnsBackend

APP_UID = 1000

_TAKEN_PORTS = {ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, *SERVED_PORTS}

Prepare = Callable[[socket.socket], None]


class NetnsPlace:
    """A place as one check sees it; what it makes listen ends with the check."""

    def __init__(self, mesh: NetnsMesh, host: Host, address: str, default_uid: int) -> None:
        self._mesh, self._host, self._default_uid = mesh, host, default_uid
        self.address = address
        self._listening: set[tuple[str, Address]] = set()

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
        with self.open(
            to, port, uid=uid, gid=gid, source=source, answer=answer, interface=interface,
            prepare=prepare, mapped=mapped,
        ) as connection:  # fmt: skip
            return connection.fate

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
        if answer:
            self._mesh.answerer(self, flow.destination.host).answer(flow)
        self._mesh.observed += 1
        return self._host.open(
            flow, source=source or self._bound(flow), gid=gid, prepare=prepare, mapped=mapped
        )

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Connect to many ports, several at once."""
        flows = (self._flow(to, port, uid) for port in ports)
        source = self._bound(self._flow(to, 0, uid))
        total = len(ports) if isinstance(ports, Sized) else None
        for done, fate in enumerate(self._host.connect_all(flows, source=source), 1):
            self._mesh.observed += 1
            self._mesh.watch(done, total)
            yield fate

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
        if answer:
            self._mesh.answerer(self, flow.destination.host).answer(flow)
        self._mesh.observed += 1
        return self._host.datagram(flow, source=source or self._bound(flow), payload=payload)

    def ping(self, to: Place | str) -> Fate:
        """Send one ICMP echo request."""
        flow = self._flow(to, 0, 0, Protocol.ICMP)
        self._mesh.answerer(self, flow.destination.host).answer(flow)
        self._mesh.observed += 1
        return self._host.ping(flow)

    def inject(self, packet: Packet, *, uid: int | None = None) -> None:
        """Send a packet made by hand."""
        self._mesh.observed += 1
        self._host.inject(packet, uid=self._default_uid if uid is None else uid)

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
        listener = self._host.listen(address, uid=self._default_uid if uid is None else uid)
        self._listening.add(("tcp", address))
        try:
            yield
        finally:
            self._ended("tcp", address, listener.close)

    def answer(self, flow: Flow) -> None:
        """Make this place answer a flow that arrives, if it does not already."""
        destination = flow.destination
        if flow.protocol is Protocol.TCP:
            any_address = Address(ANY[destination.family], destination.port)
            if not {("tcp", any_address), ("tcp", destination)} & self._listening:
                self._answer_tcp(destination)
        elif (flow.protocol.value, destination) not in self._listening:
            if flow.protocol is Protocol.UDP:
                ear: Callable[[], None] = self._host.listen_datagrams(
                    destination, uid=self._default_uid
                ).close
            else:
                ear = self._host.hear_pings(destination.family).close
            self._listening.add((flow.protocol.value, destination))
            self._mesh.undo.callback(self._ended, flow.protocol.value, destination, ear)

    def _answer_tcp(self, destination: Address) -> None:
        self.listen(destination.port)

    def _ended(self, protocol: str, address: Address, close: Callable[[], None]) -> None:
        self._listening.discard((protocol, address))
        close()

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


class Outside(NetnsPlace):
    """A host of the world outside the pods, dialling from its own address."""

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


class NetnsPod(NetnsPlace):
    """A handle on a pod for one check."""

    def __init__(self, mesh: NetnsMesh, site: Site) -> None:
        address = next(a for a in site.addresses if Address(a, 0).family == mesh.family)
        super().__init__(mesh, site.host, address, APP_UID)
        self._site = site
        self.sidecar = NetnsSidecar(site.sidecar)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, IPv4 first."""
        return self._site.addresses

    @property
    def second_address(self) -> str:
        """A further address on the same interface."""
        return self._of_family(self._site.link.addresses, 1)

    @property
    def second_interface_address(self) -> str:
        """The address of the interface ``net1``."""
        return self._of_family(self._site.links[1].addresses, 0)

    def program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Run the implementation on the pod; a refusal fails the check."""
        programming = self.try_program(annotations=annotations, mesh_config=mesh_config)
        self._mesh.require(programming, self._site.configuration)

    def try_program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
        sabotage: Sabotage | None = None,
    ) -> Programming:
        """Run the implementation on the pod, and return how it ended."""
        old = self._site.configuration
        self._site.configuration = Configuration(
            old.annotations if annotations is None else annotations,
            old.traffic if mesh_config is None else mesh_config,
        )
        confinement = confined(self._mesh.confinement, capabilities, kill_after_s)
        self._mesh.observed += 1
        return self._mesh.backend.program(self._site, self._mesh.iptables, confinement, sabotage)

    def holding_xtables_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the pod's legacy iptables until a program waits for it."""
        return held_lock(self._site.lock)

    def nested(self) -> NetnsPlace:
        """Return a container nested in the pod."""
        return self._mesh.nested(self._site)

    @contextmanager
    def tap(self) -> Iterator[Tap]:
        """See the packets on the primary link."""
        sock = open_tap(self._mesh.backend.world, self._site.link)
        tap = Tap(sock, self._host.engine, self._mesh.timeout_s)
        try:
            yield tap
        finally:
            tap.close()

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run somebody else's program in the pod."""
        toolbox = self._mesh.backend.toolbox(self._mesh.iptables)
        return self._site.init_run(toolbox, self._mesh.confinement).run(argv, stdin)

    def limit_source_ports(self, low: int, high: int) -> None:
        """Let the kernel choose source ports from a range."""
        self._site.namespace.sysctl({"ipv4/ip_local_port_range": f"{low} {high}"})

    def forget_gateway(self) -> None:
        """Have the pod ask anew for its gateway's link address."""
        forget_gateway(self._site.namespace, self._site.link, self._mesh.family)

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Every acceptance of the run so far."""
        return tuple(self._host.engine.log)

    def is_own(self, host: str) -> bool:
        """Whether an address leads back to this pod."""
        return host in self._site.addresses

    def _answer_tcp(self, destination: Address) -> None:
        if destination.port not in _TAKEN_PORTS:
            self.listen(destination.port)

    def _of_family(self, addresses: tuple[str, ...], index: int) -> str:
        return [a for a in addresses if Address(a, 0).family == self._mesh.family][index]


class NetnsSidecar:
    """A handle on a pod's sidecar."""

    def __init__(self, process: SidecarProcess) -> None:
        self._process = process

    @contextmanager
    def forwarding(self, services: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
        """Pass captured flows on for the block."""
        self._process.forwarding, self._process.services = True, services
        try:
            yield
        finally:
            self._process.forwarding, self._process.services = False, {}

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have no sidecar for the block."""
        self._process.stop()
        try:
            yield
        finally:
            self._process.start()


class NetnsMesh:
    """What one check is given; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        observed: Flows sent and programming attempts made, to tell a check that looked at nothing.
        watch: Called after each flow of :meth:`NetnsPlace.connect_all`, with the flows so far and
            their number in all where that is known.
    """

    def __init__(
        self,
        backend: NetnsBackend,
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
        self.undo = ExitStack()
        self.confinement: Confinement = backend.confinement
        self.server = Outside(self, backend.outside, SERVER[family], 0)
        self.client = Outside(self, backend.outside, CLIENT[family], 0)
        self.node = Outside(self, backend.outside, NODE[family], 0)
        self._pods: list[NetnsPod] = []

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
        second_interface: bool = False,
    ) -> NetnsPod:
        """Return a programmed pod."""
        configuration = Configuration(annotations or {}, mesh_config or {})
        if fresh:
            pod = self._fresh(configuration, second_interface)
            self.require(pod.try_program(), configuration)
            return pod
        site = self.backend.shared_site(configuration, self.iptables, second_interface)
        assert site.programming is not None  # noqa: S101 - a shared site has been programmed
        self.require(site.programming, configuration)
        return self._handle(site)

    def bare_pod(self, *, second_interface: bool = False) -> NetnsPod:
        """Return a pod that nobody has programmed."""
        return self._fresh(Configuration(), second_interface)

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Have a fresh pod programmed, and return how it ended."""
        configuration = Configuration(annotations or {}, mesh_config or {})
        return self._fresh(configuration, second_interface=False).try_program()

    def nested(self, site: Site) -> NetnsPlace:
        """Return a container nested in a pod; both end with the check."""
        namespace = Namespace()
        self.undo.callback(namespace.close)
        link = wire_nested(namespace, site.namespace, self.backend.world, site.link)
        host = Host(site.host.engine, namespace.socket, self.timeout_s)
        address = next(a for a in link.addresses if Address(a, 0).family == self.family)
        return NetnsPlace(self, host, address, APP_UID)

    def programs_started(self) -> int:
        """Return how many packet filter programs the implementation starts to program a pod."""
        counted = self.backend.programs_started
        if self.iptables not in counted:
            counting = self.bare_pod().try_program(sabotage=Sabotage(at=0))
            counted[self.iptables] = counting.started
        return counted[self.iptables]

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        v4, v6 = f"198.18.{2 * number}.0/24", f"2001:db8:{number + 16:x}::/120"
        return ip_network(v4 if self.family == 4 else v6)

    def beyond_second_interface(self) -> str:
        """Return a remote address that a second interface leads to."""
        return str(ip_network(BEHIND_SECOND_INTERFACE[self.family])[10])

    def silent_address(self) -> str:
        """Return an outside address that answers nothing."""
        return SILENT[self.family]

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    @property
    def workloads(self) -> NoReturn:
        """Not offered here."""
        raise BackendError("without a cluster there are no workloads")

    def answerer(self, dialler: NetnsPlace, host: str) -> NetnsPlace:
        """Return the place that an address belongs to, as the dialler sees it."""
        if host.startswith("127.") or host == "::1":
            return dialler
        return next((pod for pod in self._pods if pod.is_own(host)), self.server)

    def require(self, programming: Programming, configuration: Configuration) -> None:
        """Fail the check when a configuration that is valid was refused."""
        if programming.refused:
            lists = {k.value: v for k, v in configuration.effective().items() if v}
            what = f"this configuration: {lists}" if lists else "the default configuration"
            raise AssertionError(f"the implementation refused {what}: {programming.reason}")

    def close(self) -> None:
        """End all that the check opened."""
        self.undo.close()

    def _fresh(self, configuration: Configuration, second_interface: bool) -> NetnsPod:
        site = self.backend.new_site(configuration, second_interface)
        self.undo.callback(site.close)
        return self._handle(site)

    def _handle(self, site: Site) -> NetnsPod:
        pod = NetnsPod(self, site)
        self._pods.append(pod)
        return pod
