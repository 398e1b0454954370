"""Network namespaces as sources and destinations of one check's flows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_fsmredir.backends.places import BasePlace, Dial, End, OutsidePlace
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.host import Host, Prepare
from pytest_fsmredir.traffic.packet import Packet

if TYPE_CHECKING:
    from pytest_fsmredir.backends.netns.mesh import NetnsMesh


class NetnsPlace(BasePlace):
    """A namespace as one check sees it."""

    _mesh: NetnsMesh

    def __init__(self, mesh: NetnsMesh, host: Host, address: str, default_uid: int) -> None:
        super().__init__(mesh, address, default_uid)
        self._host = host

    def inject(
        self, packet: Packet, *, uid: int | None = None, interface: str | None = None
    ) -> None:
        """Send a forged packet."""
        self._mesh.observed += 1
        uid = self._default_uid if uid is None else uid
        self._host.inject(packet, uid=uid, interface=interface)

    def _answerer(self, host: str) -> BasePlace:
        return self._mesh.answerer(self, host)

    def _open(self, flow: Flow, dial: Dial, *, keep: bool) -> Connection:
        del keep  # the caller's block closes it
        return self._host.open(
            flow, source=dial.source, gid=dial.gid, prepare=dial.prepare, mapped=dial.mapped
        )

    def _open_all(self, flows: Iterable[Flow], source: Address | None) -> Iterator[Fate]:
        return self._host.connect_all(flows, source=source)

    def _send(
        self, flow: Flow, source: Address | None, payload: bytes, prepare: Prepare | None
    ) -> Fate:
        return self._host.datagram(flow, source=source, payload=payload, prepare=prepare)

    def _ping(self, flow: Flow, payload: bytes) -> Fate:
        return self._host.ping(flow, payload=payload)

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        if protocol is Protocol.TCP:
            return self._host.listen(address, uid=uid).close
        if protocol is Protocol.UDP:
            return self._host.listen_datagrams(address, uid=uid).close
        return self._host.hear_pings(address.family).close


class NetnsOutside(OutsidePlace, NetnsPlace):
    """A host of the world outside the pods."""
