"""Facets that see and forge packets, and that use both ends of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.facets import FarEnds, ForgedPackets, Taps
from pytest_fsmredir.backends.netns.idling import Idling
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import own_place, own_pod
from pytest_fsmredir.backends.netns.wiring import SILENT, open_tap
from pytest_fsmredir.backends.pod_parts import Tap
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.traffic.connection import Connection, LocalConnection
from pytest_fsmredir.traffic.correspondent import Correspondent, corresponding
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.receiver import Receiver, open_receivers
from pytest_fsmredir.traffic.tap import PacketTap


class NetnsTaps(Taps):
    """Captures the packets on the links of pods."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    @contextmanager
    def of(self, pod: Pod) -> Iterator[PacketTap]:
        """Capture the packets on the primary link."""
        site = own_pod(pod).site
        link = site.link
        sock = open_tap(self._mesh.backend.world, link)
        far_end = (link.outside, link.pod_mac)
        tap = PacketTap(sock, site.host.engine, self._mesh.timeout_s, far_end)
        try:
            yield tap
        finally:
            tap.close()


class NetnsForgedPackets(ForgedPackets):
    """Sends packets made by hand, and shows what the kernel makes of them."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def inject(
        self, place: Place, packet: Packet, *, uid: int | None = None, interface: str | None = None
    ) -> None:
        """Send a packet from a place."""
        own_place(place).inject(packet, uid, interface)

    def deliver(self, tap: Tap, packet: Packet) -> None:
        """Send a packet on the tapped link to the pod."""
        if not isinstance(tap, PacketTap):
            raise BackendError(f"{tap!r} is not a tap of this backend")
        self._mesh.observed += 1
        tap.deliver(packet)

    def silent_address(self) -> str:
        """Return an outside address that answers nothing."""
        return SILENT[self._mesh.family]

    def corresponding(
        self, pod: Pod, to: Place | str, port: int
    ) -> AbstractContextManager[Correspondent]:
        """Send a UDP datagram, and keep its socket for the block."""
        own = own_pod(pod)
        return corresponding(own.host, own.datagram_to(to, port))

    @contextmanager
    def receiving(
        self, pod: Pod, protocols: Iterable[int], groups: Iterable[str] = ()
    ) -> Iterator[Receiver]:
        """Capture the packets that the pod's kernel delivers to some protocols."""
        family, site = self._mesh.family, own_pod(pod).site
        sockets = site.namespace.run(
            lambda: open_receivers(family, protocols, groups, site.link.interface)
        )
        receiver = Receiver(sockets, site.host.engine, self._mesh.timeout_s)
        try:
            yield receiver
        finally:
            receiver.close()


class NetnsFarEnds(FarEnds):
    """Controls the servers at the other end of connections, and keeps connections idle."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def half_close(self, connection: Connection) -> None:
        """Half-close a connection; the acceptor keeps its end open."""
        _own(connection).half_close()

    def hears(self, connection: Connection, payload: bytes, within_s: float) -> Statement:
        """Make the acceptor send a payload first, and return the claim that it arrives."""
        return _own(connection).hears(payload, within_s)

    def idling(self, pod: Pod, connections: Sequence[Connection]) -> Idling:
        """Keep connections of the pod idle from now on."""
        site = own_pod(pod).site
        return Idling(connections, site.namespace, site.host.engine, self._mesh.backend.idle_s)


def _own(connection: Connection) -> LocalConnection:
    if not isinstance(connection, LocalConnection):
        raise BackendError(f"the other end of {connection.flow} is not in this process")
    return connection
