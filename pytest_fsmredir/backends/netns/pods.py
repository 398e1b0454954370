"""Handles of one check on pods that are namespaces, and on their sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.netns.idling import Idling
from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.programs import no_limit
from pytest_fsmredir.backends.netns.sabotage import held_lock
from pytest_fsmredir.backends.netns.sandbox import Sandbox, confined
from pytest_fsmredir.backends.netns.steps import Steps
from pytest_fsmredir.backends.netns.wiring import forget_gateway, open_tap
from pytest_fsmredir.backends.places import APP_UID, SIDECAR_PORTS, require_accepted
from pytest_fsmredir.backends.programming import Programming, Sabotage
from pytest_fsmredir.implementations.base import Completed
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptance, Address, Protocol
from pytest_fsmredir.sidecars.base import SidecarProcess
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.correspondent import Correspondent, corresponding
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.receiver import Receiver, open_receivers
from pytest_fsmredir.traffic.tap import PacketTap

if TYPE_CHECKING:
    from pytest_fsmredir.backends.netns.mesh import NetnsMesh


class NetnsPod(NetnsPlace):
    """A handle on a pod for one check."""

    def __init__(self, mesh: NetnsMesh, site: Sandbox) -> None:
        address = next(a for a in site.addresses if Address(a, 0).family == mesh.family)
        super().__init__(mesh, site.host, address, APP_UID)
        self._site = site
        self.sidecar = NetnsSidecar(site.sidecar)

    @property
    def name(self) -> str:
        """The pod's name, as passed to the implementation."""
        return self._site.link.outside

    @property
    def configuration(self) -> Configuration:
        """The configuration of the last programming."""
        return self._site.configuration

    def losses(self) -> list[str]:
        """Return the links, addresses and routes that the implementation removed."""
        return self._site.losses()

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
        require_accepted(programming, self._site.configuration)

    def try_program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
        sabotage: Sabotage | None = None,
    ) -> Programming:
        """Run the implementation on the pod, and return the result."""
        self._configure(annotations, mesh_config)
        confinement = confined(self._mesh.confinement, capabilities, kill_after_s)
        self._mesh.observed += 1
        return self._mesh.backend.program(self._site, self._mesh.iptables, confinement, sabotage)

    def programming(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> AbstractContextManager[Steps]:
        """Run the implementation on the pod for the block, in steps."""
        self._configure(annotations, mesh_config)
        self._mesh.observed += 1
        backend, confinement = self._mesh.backend, self._mesh.confinement
        return backend.program_in_steps(self._site, self._mesh.iptables, confinement)

    def holding_xtables_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the pod's legacy iptables until a program waits for it."""
        return held_lock(self._site.lock)

    def nested(self) -> NetnsPlace:
        """Return a container nested in the pod."""
        return self._mesh.nested(self._site)

    def corresponding(self, to: Place | str, port: int) -> AbstractContextManager[Correspondent]:
        """Send a UDP datagram, and keep its socket for the block."""
        flow = self._sent(self._flow(to, port, None, Protocol.UDP))
        return corresponding(self._host, flow)

    @contextmanager
    def tap(self) -> Iterator[NetnsTap]:
        """Capture the packets on the primary link."""
        tap = NetnsTap(self._mesh, self._site)
        try:
            yield tap
        finally:
            tap.close()

    @contextmanager
    def receiving(self, protocols: Iterable[int], groups: Iterable[str] = ()) -> Iterator[Receiver]:
        """Capture the packets that the pod's kernel delivers to some protocols."""
        family, interface = self._mesh.family, self._site.link.interface
        sockets = self._site.namespace.run(
            lambda: open_receivers(family, protocols, groups, interface)
        )
        receiver = Receiver(sockets, self._host.engine, self._mesh.timeout_s)
        try:
            yield receiver
        finally:
            receiver.close()

    def idling(self, connections: Sequence[Connection]) -> Idling:
        """Keep connections of the pod idle from now on."""
        least_s = self._mesh.backend.idle_s
        return Idling(connections, self._site.namespace, self._host.engine, least_s)

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a foreign program in the pod."""
        toolbox = self._mesh.backend.foreign_toolbox(self._mesh.iptables)
        # A program of the node, which has no limits, may have loaded foreign rules.
        confinement = replace(self._mesh.confinement, limit=no_limit)
        return self._site.init_run(toolbox, confinement).run(argv, stdin)

    @contextmanager
    def kernel_settings(self, values: Mapping[str, str]) -> Iterator[None]:
        """Change settings of the pod's kernel for the block."""
        before = self._site.namespace.changed_sysctl(values)
        try:
            yield
        finally:
            self._site.namespace.sysctl(before)

    def forget_gateway(self) -> None:
        """Make the pod resolve its gateway's link address again."""
        forget_gateway(self._site.namespace, self._site.link, self._mesh.family)

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Every acceptance of the run so far."""
        return tuple(self._host.engine.log)

    def is_own(self, host: str) -> bool:
        """Whether an address leads back to this pod."""
        return host in self._site.addresses

    def _configure(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
    ) -> None:
        old = self._site.configuration
        self._site.configuration = asked_for(
            old.annotations if annotations is None else annotations,
            old.traffic if mesh_config is None else mesh_config,
        )

    def _answer_tcp(self, port: int) -> None:
        if port not in SIDECAR_PORTS:
            self.listen(port)

    def _of_family(self, addresses: tuple[str, ...], index: int) -> str:
        return [a for a in addresses if Address(a, 0).family == self._mesh.family][index]


class NetnsTap(PacketTap):
    """The packets on a pod's primary link, for one check."""

    def __init__(self, mesh: NetnsMesh, site: Sandbox) -> None:
        link = site.link
        sock = open_tap(mesh.backend.world, link)
        super().__init__(sock, site.host.engine, mesh.timeout_s, (link.outside, link.pod_mac))
        self._mesh = mesh

    def deliver(self, packet: Packet) -> None:
        """Send a packet on the link to the pod."""
        self._mesh.observed += 1
        super().deliver(packet)


class NetnsSidecar:
    """A handle on a pod's sidecar."""

    def __init__(self, process: SidecarProcess) -> None:
        self._process = process

    @contextmanager
    def forwarding(self, services: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
        """Forward captured flows for the block."""
        self._process.forwarding, self._process.services = True, services
        try:
            yield
        finally:
            self._process.forwarding, self._process.services = False, {}

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the sidecar for the block."""
        self._process.stop()
        try:
            yield
        finally:
            self._process.start()
