"""Network namespaces as sources and destinations of one check's flows."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from itertools import islice

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.places import BasePlace, End, OutsidePlace, Surroundings
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol, Route
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.screen import AT_ONCE


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
        every, odd = list(destinations), list[Address]()
        for family in (4, 6):
            left = iter([each for each in every if each.family == family])
            if (first := next(left, None)) is not None:
                odd += self._screened(route, first, left, uid)
        return odd

    def _screened(
        self, route: Route, first: Address, left: Iterator[Address], uid: int | None
    ) -> list[Address]:
        asked, odd = Dial(uid=uid), list[Address]()
        flow = self._flow(first.host, first.port, asked)
        far, source = (
            self._mesh.answerer(self, first.host).host,
            self._completed(asked, flow).source,
        )
        done, batch = 0, [first, *islice(left, AT_ONCE - 1)]
        with ONE_AT_A_TIME, self.host.screen(flow, route, far, source) as screen:
            while batch:
                others = screen.odd(batch)
                odd += others
                done += len(batch)
                self._mesh.watch(done, None)
                if 2 * len(others) > len(batch):
                    break
                batch = list(islice(left, AT_ONCE))
        self._mesh.observed += done
        return [*odd, *left]

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
