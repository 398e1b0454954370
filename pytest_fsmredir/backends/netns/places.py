"""Network namespaces as sources and destinations of one check's flows."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.places import BasePlace, End, OutsidePlace, Surroundings
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol, Route
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.screen import AT_ONCE, Owner


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
        every, owner = list(destinations), (self._owner(uid) or 0, 0)
        odd: list[Address] = []
        for flows in ([to for to in every if (":" in to.host) is v6] for v6 in (False, True)):
            odd += [flows[n] for n in self._screened(route, flows, [owner] * len(flows))]
        return odd

    def owners_not_taking(
        self, route: Route, to: Place | str, port: int, owners: Iterable[Owner]
    ) -> list[Owner]:
        """Send a first packet of each owner; see :meth:`not_taking`."""
        every, destination = list(owners), self._flow(to, port, Dial()).destination
        return [every[n] for n in self._screened(route, [destination] * len(every), every)]

    def _screened(
        self, route: Route, flows: Sequence[Address], owners: Sequence[Owner]
    ) -> list[int]:
        """Return the positions of the flows that need a look.

        Args:
            route: The route.
            flows: Their destinations, all of one IP version.
            owners: Their owners.
        """
        odd, done = list[int](), 0
        if not flows:
            return odd
        flow = self._flow(flows[0].host, flows[0].port, Dial())
        far = self._mesh.answerer(self, flow.destination.host).host
        with ONE_AT_A_TIME, self.host.screen(flow, route, far, self._bound(flow)) as screen:
            while done < len(flows):
                batch = flows[done : done + AT_ONCE]
                others = screen.odd(batch, owners[done : done + AT_ONCE])
                odd += [done + position for position in others]
                done += len(batch)
                self._mesh.observed += len(batch)
                self._mesh.watch(done, len(flows))
                if 2 * len(others) > len(batch):
                    break
        return [*odd, *range(done, len(flows))]

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
