"""Namespaces as one check sees them: where its flows start from and arrive at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.places import End, ListeningPlace, OutsidePlace
from pytest_fsmredir.spec.flow import Address, Fate, Protocol
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.host import Host, Prepare
from pytest_fsmredir.traffic.tap import Packet

if TYPE_CHECKING:
    from pytest_fsmredir.backends.netns.mesh import NetnsMesh


class NetnsPlace(ListeningPlace):
    """A namespace as one check sees it."""

    def __init__(self, mesh: NetnsMesh, host: Host, address: str, default_uid: int) -> None:
        super().__init__(mesh.family, mesh.undo, address, default_uid)
        self._mesh, self._host = mesh, host

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

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        if protocol is Protocol.TCP:
            return self._host.listen(address, uid=uid).close
        if protocol is Protocol.UDP:
            return self._host.listen_datagrams(address, uid=uid).close
        return self._host.hear_pings(address.family).close


class Outside(OutsidePlace, NetnsPlace):
    """A host of the world outside the pods."""
