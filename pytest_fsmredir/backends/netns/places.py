"""Network namespaces as sources and destinations of one check's flows."""

from __future__ import annotations

import socket
import typing
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.places import BasePlace, End, OutsidePlace, Surroundings
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol, Route
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.screen import AT_ONCE, Owner, Screen


class NetnsSurroundings(Surroundings, typing.Protocol):
    """The part of a mesh that its places use."""

    def answerer(self, dialler: NetnsPlace, host: str) -> NetnsPlace:
        """Return the place that an address belongs to, seen from the dialler."""
        ...


class NetnsPlace(BasePlace):
    """A namespace as one check sees it.

    Attributes:
        host: Starts and receives its flows.
    """

    _mesh: NetnsSurroundings

    def __init__(self, mesh: NetnsSurroundings, host: Host, address: str, default_uid: int) -> None:
        super().__init__(mesh, address, default_uid)
        self.host = host

    def not_taking(
        self, route: Route, destinations: Iterable[Address], *, uid: int | None = None
    ) -> list[Address]:
        """Send first packets in batches.

        Where most packets take another route, the rest is not sent: every flow needs a look.
        """
        every = list(destinations)
        user = self._owner(uid) or 0
        odd: list[Address] = []
        for family in (4, 6):
            flows = [(each, (user, 0)) for each in every if each.family == family]
            odd += [to for to, _ in self._screened(route, flows)]
        return odd

    def owners_not_taking(
        self, route: Route, to: Place | str, port: int, owners: Iterable[Owner]
    ) -> list[Owner]:
        """Send a first packet of each owner; see :meth:`not_taking`."""
        destination = self._flow(to, port, Dial()).destination
        return [owner for _, owner in self._screened(route, [(destination, o) for o in owners])]

    def _screened(
        self, route: Route, flows: Sequence[tuple[Address, Owner]]
    ) -> list[tuple[Address, Owner]]:
        """Return the destinations and owners of the flows that need a look."""
        odd, done = list[tuple[Address, Owner]](), 0
        if not flows:
            return odd
        flow = self._flow(flows[0][0].host, flows[0][0].port, Dial())
        far = self._mesh.answerer(self, flow.destination.host).host
        with ONE_AT_A_TIME, self.host.screen(flow, route, far, self._bound(flow)) as screen:
            for done in range(0, len(flows), AT_ONCE):
                batch = flows[done : done + AT_ONCE]
                others = self._batch(screen, batch)
                odd += others
                self._mesh.observed += len(batch)
                self._mesh.watch(done + len(batch), len(flows))
                if 2 * len(others) > len(batch):
                    break
        return [*odd, *flows[done + AT_ONCE :]]

    def _batch(
        self, screen: Screen, flows: Sequence[tuple[Address, Owner]]
    ) -> list[tuple[Address, Owner]]:
        with ExitStack() as undo:
            senders: dict[Owner, socket.socket] = {}
            for to, owner in flows:
                if owner not in senders:
                    senders[owner] = undo.enter_context(self.host.sender(to.family, owner))

            def send(position: int, raw: bytes, host: str) -> None:
                senders[flows[position][1]].sendto(raw, (host, 0))

            odd = screen.odd((to for to, _ in flows), send)
        return [flows[position] for position in odd]

    def inject(self, packet: Packet, uid: int | None, interface: str | None) -> None:
        """Send a forged packet."""
        self._mesh.observed += 1
        uid = self._default_uid if uid is None else uid
        self.host.inject(packet, uid=uid, interface=interface)

    def datagram_to(self, to: Place | str, port: int) -> Flow:
        """Return a UDP flow to a destination, which is made to answer it."""
        return self._sent(self._flow(to, port, Dial(), Protocol.UDP))

    def _answerer(self, host: str) -> BasePlace:
        return self._mesh.answerer(self, host)

    def _open(self, flow: Flow, dial: Dial, *, keep: bool) -> Connection:
        del keep  # the caller's block closes it
        return self.host.open(flow, dial)

    def _open_all(self, flows: Iterable[Flow], dial: Dial) -> Iterator[Fate]:
        return self.host.connect_all(flows, dial)

    def _send(self, flow: Flow, dial: Dial, payload: bytes) -> Fate:
        return self.host.datagram(flow, dial, payload=payload)

    def _ping(self, flow: Flow, payload: bytes) -> Fate:
        return self.host.ping(flow, payload=payload)

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        if protocol is Protocol.TCP:
            return self.host.listen(address, uid=uid).close
        if protocol is Protocol.UDP:
            return self.host.listen_datagrams(address, uid=uid).close
        return self.host.hear_pings(address.family).close


class NetnsOutside(OutsidePlace, NetnsPlace):
    """A host of the world outside the pods."""
