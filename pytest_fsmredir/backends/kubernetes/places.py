"""Places of a cluster as one check sees them: where its flows start from and arrive at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from pytest_fsmredir.agent.forms import Json, Report, address_form, bytes_form
from pytest_fsmredir.agent.preparation import preparation_form
from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.kubernetes.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.fleet import Site
from pytest_fsmredir.backends.kubernetes.link import Link
from pytest_fsmredir.backends.kubernetes.manifests import APP
from pytest_fsmredir.backends.places import (
    End,
    ListeningPlace,
    OutsidePlace,
    not_offered,
)
from pytest_fsmredir.spec.flow import Address, Fate, Flow, Protocol
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.host import Prepare
from pytest_fsmredir.traffic.tap import Packet

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.mesh import KubeMesh

RESOLVE_S = 20.0
"""How long a resolver may take: four times what it waits for one server (resolv.conf(5))."""

_SWEEP = 256  # ports of a sweep that one command names


class KubePlace(ListeningPlace):
    """A pod or a node as one check sees it.

    Attributes:
        site: What it is a handle on.
    """

    def __init__(self, mesh: KubeMesh, site: Site, address: str, default_uid: int) -> None:
        super().__init__(mesh.family, mesh.undo, address, default_uid)
        self._mesh, self.site = mesh, site

    @property
    def link(self) -> Link:
        """The line to the place's agents."""
        return self._mesh.backend.link(self.site)

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
            for fate in self._mesh.fates.sweep(self, flows, address_form(source)):
                done += 1
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
        local = address_form(source or self._bound(flow))
        sent = bytes_form(payload)
        return self._send(flow, "datagram", answer=answer, source=local, payload=sent)

    def ping(self, to: Place | str) -> Fate:
        """Send one ICMP echo request."""
        return self._send(self._flow(to, 0, 0, Protocol.ICMP), "ping", answer=True)

    def inject(self, packet: Packet, *, uid: int | None = None) -> None:
        """Not offered here."""
        not_offered("packets made by hand")

    def reaches(self, host: str, port: int, *, within_s: float) -> bool:
        """Whether a TCP connection from here, which is no check's flow, is accepted."""
        to = address_form(Address(host, port))
        return bool(self.link.ask(APP, "reaches", wait_s=within_s, to=to, within_s=within_s))

    def resolve(self, name: str) -> tuple[str, ...]:
        """Ask the resolver that is configured here, and return the addresses; none without one."""
        family = self._mesh.family
        return tuple(self.link.ask(APP, "resolve", wait_s=RESOLVE_S, name=name, family=family))

    @property
    def _is_shared(self) -> bool:
        """Whether other programs may listen here, and are as good as our own."""
        return False

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        at = address_form(address)
        if protocol is Protocol.TCP:
            taken = self._is_shared
            number = self.link.ask(APP, "listen", at=at, uid=uid, unless_taken=taken)
        else:
            number = self.link.ask(APP, "hear", at=at, protocol=protocol.value, uid=uid)
        return partial(self._unlisten, number)

    def _unlisten(self, number: Json) -> None:
        if not self.link.lost:  # else whatever ended it has ended the listener
            self.link.ask(APP, "unlisten", number=number)

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
        how = {
            "gid": gid,
            "source": address_form(source or self._bound(flow)),
            "mapped": mapped,
            "prepare": preparation_form(prepare),
        }
        return mesh.fates.open(self, flow, how, keep=keep)

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
        return Fate(flow, report.client, mesh.since(mark, flow), report.lost)


class Outside(OutsidePlace, KubePlace):
    """A pod outside the mesh, or the node."""
