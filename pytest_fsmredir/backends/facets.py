"""The facets of a mesh: abilities that a backend may lack. A check asks for them by parameter.

Each protocol is made by the backend for the mesh of one check, and its methods take the pod. A
class that implements one names it as its base, so that mypy compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.pod_parts import Idling, Memory, Steps, Tap, Tracing
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Completed
from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.model.facets import Facet, facet, needs_met_by, together
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.correspondent import Correspondent
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.tap import PacketLog


@facet(Need.PROGRAMMING)
class Programmer(Protocol):
    """Runs the implementation on a pod; this may be repeated."""

    def program(
        self,
        pod: Pod,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Run the implementation. Without arguments the configuration does not change.

        Args:
            pod: The pod.
            annotations: New pod annotations.
            mesh_config: New MeshConfig lists.

        Raises:
            Unmet: The implementation refused.
        """
        ...

    def try_program(
        self,
        pod: Pod,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
    ) -> Programming:
        """Like :meth:`program`, and return how it ended.

        Args:
            pod: The pod.
            annotations: New pod annotations.
            mesh_config: New MeshConfig lists.
            capabilities: The capabilities that the command may have at most, by number.
            kill_after_s: Kill the command, children included, after this time.
        """
        ...


@facet(Need.SABOTAGE, Need.PROGRAMMING)
class Sabotage(Protocol):
    """Disturbs the implementation while it programs a pod."""

    def program(self, pod: Pod, *, at: int | None, kills: bool = False) -> Programming:
        """Disturb the packet filter programs (such as iptables) that the implementation starts.

        Args:
            pod: The pod.
            at: The number of the start to disturb, before the program does anything: 1 is the
                first, None is every start, 0 is none (starts are only counted).
            kills: Kill the implementation and its children at that start; otherwise the program
                fails.
        """
        ...

    def programs_started(self) -> int:
        """Return how many packet filter programs the implementation starts to program a pod.

        They are counted once in a run, on a pod without lists. Only programs found by PATH count.
        """
        ...

    def in_steps(
        self, pod: Pod, *, annotations: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Steps]:
        """Run the implementation for the block, while the caller sends flows.

        Each packet filter program that it finds by PATH and starts waits for the caller's next
        step. The timeout of flows is shorter than usual, and the caller has to rely on the banner,
        because an earlier flow may be accepted late.

        Args:
            pod: The pod.
            annotations: New pod annotations.
        """
        ...

    def holding_xtables_lock(self, pod: Pod) -> AbstractContextManager[None]:
        """Hold the lock of legacy iptables until a program waits for it, or the block ends.

        The nft variant does not use that lock.
        """
        ...


@facet(Need.SIDECAR_CONTROL)
class Sidecars(Protocol):
    """Controls the sidecars of pods."""

    def forwarding(
        self, pod: Pod, services: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:
        """Forward captured flows for the block, as a proxy does, instead of answering them.

        Args:
            pod: The pod of the sidecar.
            services: Forwarding destinations of outbound flows, by the address that was dialled;
                other flows go to their original destination.
        """
        ...

    def stopped(self, pod: Pod) -> AbstractContextManager[None]:
        """Stop the sidecar for the block: its ports are closed."""
        ...


@facet(Need.TAP)
class Taps(Protocol):
    """Captures the packets on the links of pods."""

    def of(self, pod: Pod) -> AbstractContextManager[Tap]:
        """Capture the packets on the pod's link."""
        ...


@facet(Need.FORGED_PACKETS)
class ForgedPackets(Protocol):
    """Sends packets made by hand (see ``forge``), and shows what the kernel makes of them."""

    def inject(
        self, place: Place, packet: Packet, *, uid: int | None = None, interface: str | None = None
    ) -> None:
        """Send a packet from a place, with any source address.

        Args:
            place: The place that sends.
            packet: The packet to send.
            uid: Owner of the socket; an application user (1000) by default in a pod.
            interface: The outgoing interface; None uses the routes, which do not cover
                link-local addresses.
        """
        ...

    def deliver(self, tap: Tap, packet: Packet) -> None:
        """Put a packet on a tapped link, for the pod to receive whatever its addresses are.

        The tap does not see it.
        """
        ...

    def silent_address(self) -> str:
        """Return an outside address that answers nothing, for forged clients."""
        ...

    def corresponding(
        self, pod: Pod, to: Place | str, port: int
    ) -> AbstractContextManager[Correspondent]:
        """Send a UDP datagram to a destination that answers, and keep its socket for the block."""
        ...

    def receiving(
        self, pod: Pod, protocols: Iterable[int], groups: Iterable[str] = ()
    ) -> AbstractContextManager[PacketLog]:
        """Capture the packets that the pod's kernel delivers after all rules.

        Args:
            pod: The pod.
            protocols: Numbers of the IP protocols to capture; at least one, and not TCP.
            groups: Multicast groups that the pod joins for the block.
        """
        ...


@facet(Need.FOREIGN_RULES)
class ForeignPrograms(Protocol):
    """Runs programs in pods that do not belong to the implementation."""

    @property
    def memory(self) -> Memory:
        """What earlier checks of the run learnt from such programs."""
        ...

    def run(self, pod: Pod, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program in the pod as root, for example to add foreign rules.

        The iptables programs are of the check's variant.
        """
        ...

    def tracing(self, pod: Pod, *, legacy: bool) -> AbstractContextManager[Tracing]:
        """Trace the packets that open flows through the pod's rules, for the block.

        A flow must be sent alone, and its trace read before the next one is sent.

        Args:
            pod: The pod.
            legacy: Whether the pod has rules of legacy iptables.

        Raises:
            BackendError: The kernel cannot trace packets here.
        """
        ...


@facet(Need.KERNEL_SETTINGS)
class KernelSettings(Protocol):
    """Changes the network settings of a pod's kernel."""

    def changed(self, pod: Pod, values: Mapping[str, str]) -> AbstractContextManager[None]:
        """Change settings for the block.

        Args:
            pod: The pod.
            values: The settings by their path below ``/proc/sys/net``, such as ``ipv4/tcp_ecn``.
        """
        ...

    def forget_gateway(self, pod: Pod) -> None:
        """Make a fresh pod resolve its gateway's link address again when it next sends a packet."""
        ...


@together
@dataclass(frozen=True)
class SearchTools:
    """What a search of every flow needs: the facets that read rules, and that send any packet.

    Attributes:
        programs: Read the rules of a pod.
        kernel: Makes connections request ECN.
        taps: Show packets that no socket sends.
        forged: Sends them.
    """

    programs: ForeignPrograms
    kernel: KernelSettings
    taps: Taps
    forged: ForgedPackets


@facet(Need.SECOND_INTERFACE)
class SecondInterface(Protocol):
    """Makes pods with a second interface ``net1`` and a second address on the first one."""

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> Pod:
        """Return such a pod, programmed; see :meth:`pytest_fsmredir.backends.base.Mesh.pod`."""
        ...

    def bare_pod(self, *, interface: str = "net1") -> Pod:
        """Return such a pod, fresh and unprogrammed.

        Args:
            interface: The name of the second interface.
        """
        ...

    def address(self, pod: Pod) -> str:
        """Return the second address on the first interface."""
        ...

    def interface_address(self, pod: Pod) -> str:
        """Return the address of the second interface."""
        ...

    def remote_address(self) -> str:
        """Return a remote address that the second interface leads to."""
        ...


@facet(Need.SINGLE_FAMILY)
class SingleFamily(Protocol):
    """Makes pods that have addresses of the check's IP version only."""

    def bare_pod(self) -> Pod:
        """Return such a pod, fresh and unprogrammed."""
        ...


@facet(Need.NESTED_CONTAINERS)
class NestedContainers(Protocol):
    """Nests containers in pods."""

    def inside(self, pod: Pod) -> Place:
        """Return a container nested in the pod, whose traffic the pod forwards."""
        ...


@facet(Need.FAR_ENDS)
class FarEnds(Protocol):
    """Controls the servers at the other end of connections, and keeps connections idle."""

    def half_close(self, connection: Connection) -> None:
        """Half-close a connection; the acceptor keeps its end open."""
        ...

    def hears(self, connection: Connection, payload: bytes, within_s: float) -> Statement:
        """Make the acceptor send a payload first, and return the claim that it arrives."""
        ...

    def idling(self, pod: Pod, connections: Sequence[Connection]) -> Idling:
        """Keep open connections of the pod idle from now on."""
        ...


class MadeFacets:
    """The facets of one mesh, each made on first use.

    Args:
        mesh: The mesh of a check.
        makers: The classes of the facets that its backend makes; each takes the mesh.
    """

    def __init__(self, mesh: object, makers: Iterable[Callable[[Any], object]]) -> None:
        self._mesh, self._makers = mesh, tuple(makers)
        self._made: dict[type, object] = {}

    def get(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol.

        Raises:
            BackendError: The backend does not make it.
        """
        if kind not in self._made:
            self._made[kind] = self._maker(kind)(self._mesh)
        return cast("Facet", self._made[kind])

    def _maker(self, kind: type) -> Callable[[Any], object]:
        for maker in self._makers:
            if isinstance(maker, type) and kind in maker.__mro__:
                return maker
        lacking = ", ".join(needs_met_by([kind])) or kind.__name__
        raise BackendError(f"this backend does not offer {kind.__name__}: {lacking}")
