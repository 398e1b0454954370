"""The interface between backends and checks: a mesh of pods, and places that flows start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from pytest_fsmredir.backends.pod_parts import Idling, Sidecar, Steps, Tap
from pytest_fsmredir.backends.programming import Programming, Sabotage
from pytest_fsmredir.backends.workloads import Workloads
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.model.flow import Acceptance, Address, Fate
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.correspondent import Correspondent
from pytest_fsmredir.traffic.host import Prepare
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.tap import PacketLog


class Place(Protocol):
    """A source or destination of flows: a pod, or a host outside.

    A destination is another place (its address is used) or an address as text.
    """

    @property
    def address(self) -> str:
        """The place's primary address in the family of the check."""
        ...

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
        """Open a TCP connection, find out who accepted it, and close it.

        Args:
            to: Destination.
            port: Destination port.
            uid: Owner of the client socket; an application user (1000) by default in a pod.
            gid: Group that owns the client socket.
            source: Local address to bind; port 0 lets the kernel choose.
            answer: Make the destination listen. With False the destination refuses unless the
                check made it listen.
            interface: The pod's interface that the flow uses, for the report.
            prepare: Called with the client socket before it is bound.
            mapped: Dial an IPv4 destination from an IPv6 socket, by its IPv4-mapped address.
        """
        ...

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
        """Like :meth:`connect`, but the connection stays open until the caller's block ends."""
        ...

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Connect to many ports of one destination, several at once; no listener is opened."""
        ...

    def datagram(
        self,
        to: Place | str,
        port: int,
        *,
        uid: int | None = None,
        source: Address | None = None,
        payload: bytes = b"",
        answer: bool = True,
        prepare: Prepare | None = None,
    ) -> Fate:
        """Send one UDP datagram to a destination that answers, and find out who received it.

        Args:
            to: Destination.
            port: Destination port.
            uid: Owner of the socket; an application user (1000) by default in a pod.
            source: Local address to bind; port 0 lets the kernel choose.
            payload: Bytes that the answer must repeat.
            answer: Make the destination listen.
            prepare: Called with the socket before it is bound.
        """
        ...

    def inject(
        self, packet: Packet, *, uid: int | None = None, interface: str | None = None
    ) -> None:
        """Send a forged packet (see ``forge``), with any source address.

        Needs FORGED_PACKETS.

        Args:
            packet: The packet to send.
            uid: Owner of the socket; an application user (1000) by default in a pod.
            interface: The outgoing interface; None uses the routes, which do not cover
                link-local addresses.
        """
        ...

    def ping(self, to: Place | str, *, uid: int | None = None, payload: bytes = b"") -> Fate:
        """Send one ICMP echo request and find out which host answered it.

        Args:
            to: Destination.
            uid: Owner of the socket; an application user (1000) by default in a pod.
            payload: Bytes that the answer must repeat, in addition to 8 bytes of the request.
        """
        ...

    def listen(self, port: int, *, host: str | None = None, uid: int | None = None) -> None:
        """Listen for TCP until the check ends, by default on all addresses of this place."""
        ...

    def listening(
        self, port: int, *, host: str | None = None, uid: int | None = None
    ) -> AbstractContextManager[None]:
        """Like :meth:`listen`, for the block."""
        ...


class Pod(Place, Protocol):
    """A pod with a sidecar, programmed by the implementation under test."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod except loopback, IPv4 first."""
        ...

    @property
    def second_address(self) -> str:
        """A further address on the same interface. Needs SECOND_INTERFACE."""
        ...

    @property
    def second_interface_address(self) -> str:
        """The address of the interface ``net1``. Needs SECOND_INTERFACE."""
        ...

    @property
    def sidecar(self) -> Sidecar:
        """The pod's sidecar."""
        ...

    def program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Run the implementation on the pod; this may be repeated.

        Without arguments the configuration does not change.

        Raises:
            Unmet: The implementation refused.
        """
        ...

    def try_program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
        sabotage: Sabotage | None = None,
    ) -> Programming:
        """Like :meth:`program`, and return how it ended. Needs PROGRAMMING.

        Args:
            annotations: New pod annotations.
            mesh_config: New MeshConfig lists.
            capabilities: The capabilities that the command may have at most, by number.
            kill_after_s: Kill the command, children included, after this time.
            sabotage: A disturbance of the programs that it starts. Needs SABOTAGE.
        """
        ...

    def programming(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> AbstractContextManager[Steps]:
        """Run the implementation on the pod for the block, while the caller sends flows.

        Each packet filter program that it finds by PATH and starts waits for the caller's next
        step. The timeout of flows is shorter than usual, and the caller has to rely on the banner,
        because an earlier flow may be accepted late. Needs SABOTAGE.

        Args:
            annotations: New pod annotations.
            mesh_config: New MeshConfig lists.
        """
        ...

    def holding_xtables_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of legacy iptables until a program waits for it, or the block ends.

        The nft variant does not use that lock. Needs SABOTAGE.
        """
        ...

    def nested(self) -> Place:
        """Return a container nested in the pod, whose traffic the pod forwards.

        Needs NESTED_CONTAINERS.
        """
        ...

    def corresponding(self, to: Place | str, port: int) -> AbstractContextManager[Correspondent]:
        """Send a UDP datagram to a destination that answers, and keep its socket for the block.

        Needs FORGED_PACKETS.
        """
        ...

    def tap(self) -> AbstractContextManager[Tap]:
        """Capture the packets on the pod's link. Needs TAP."""
        ...

    def idling(self, connections: Sequence[Connection]) -> Idling:
        """Keep open connections of the pod idle from now on. Needs FAR_ENDS."""
        ...

    def receiving(
        self, protocols: Iterable[int], groups: Iterable[str] = ()
    ) -> AbstractContextManager[PacketLog]:
        """Capture the packets that the pod's kernel delivers after all rules. Needs FORGED_PACKETS.

        Args:
            protocols: Numbers of the IP protocols to capture; at least one, and not TCP.
            groups: Multicast groups that the pod joins for the block.
        """
        ...

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a foreign program in the pod as root, for example to add foreign rules.

        Needs FOREIGN_RULES. The iptables programs are of the check's variant.
        """
        ...

    def kernel_settings(self, values: Mapping[str, str]) -> AbstractContextManager[None]:
        """Change settings of the pod's kernel for the block.

        Needs KERNEL_SETTINGS.

        Args:
            values: The settings by their path below ``/proc/sys/net``, such as ``ipv4/tcp_ecn``.
        """
        ...

    def forget_gateway(self) -> None:
        """Make the pod resolve its gateway's link address again when it next sends a packet.

        Needs KERNEL_SETTINGS, and a fresh pod.
        """
        ...

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Return every acceptance of the run so far, at any place, in order."""
        ...


class Mesh(Protocol):
    """The argument of a check: pods on demand, and the hosts around them.

    Attributes:
        family: IP version of this run of the check, 4 or 6.
        iptables: The iptables variant of this run of the check.
        timeout_s: How long a flow may take before it counts as unanswered.
        exhaustive: Whether to test whole ranges instead of samples.
        crowd: A large number of simultaneous connections that this backend still opens quickly.
    """

    family: int
    iptables: IptablesVariant
    timeout_s: float
    exhaustive: bool
    crowd: int

    @property
    def server(self) -> Place:
        """A host outside the pod that answers on every port."""
        ...

    @property
    def client(self) -> Place:
        """A host outside the pod that connects to pods; its address differs from the server's."""
        ...

    @property
    def node(self) -> Place:
        """The node that the pods run on, at its own address."""
        ...

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
        second_interface: bool = False,
    ) -> Pod:
        """Return a programmed pod with these settings.

        Checks share pods with equal settings, so a check that changes a pod must request a fresh
        one.

        Raises:
            Unmet: The implementation refused the configuration.
        """
        ...

    def bare_pod(self, *, second_interface: bool = False, single_family: bool = False) -> Pod:
        """Return a fresh, unprogrammed pod with a running sidecar.

        Args:
            second_interface: Give it a second interface. Needs SECOND_INTERFACE.
            single_family: Give it addresses of the check's IP version only. Needs SINGLE_FAMILY.
        """
        ...

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Program a fresh pod with these settings, and return the result."""
        ...

    def programs_started(self) -> int:
        """Return how many packet filter programs the implementation starts to program a pod.

        They are counted once in a run, on a pod without lists. Only programs found by PATH count.
        Needs SABOTAGE.
        """
        ...

    @property
    def highest_id(self) -> int:
        """The highest user and group id that can own flows; all lower ids can too."""
        ...

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses of the family; 0-99 do not touch each other."""
        ...

    def beyond_second_interface(self) -> str:
        """Return a remote address that ``net1`` leads to. Needs SECOND_INTERFACE."""
        ...

    def silent_address(self) -> str:
        """Return an outside address that answers nothing, for forged clients.

        Needs FORGED_PACKETS.
        """
        ...

    def loopback(self) -> str:
        """Return the loopback address of the family."""
        ...

    @property
    def workloads(self) -> Workloads:
        """The actions of a cluster user. Needs WORKLOADS."""
        ...
