"""The places of a cluster where the flows of one check start and arrive."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import Json, Report, address_form, bytes_form
from pytest_fsmredir.backends.kubernetes.agents.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.mesh.surroundings import Acceptances, Fates
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.places import BasePlace, End, OutsidePlace, Surroundings
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol
from pytest_fsmredir.traffic.dial import Dial

RESOLVE_S = 20.0
"""Seconds that a resolver may take: four times its timeout for one server (resolv.conf(5))."""

_SWEEP = 256  # ports of a sweep in one command


class KubeSurroundings(Acceptances, Surroundings, typing.Protocol):
    """The part of a mesh that its places use.

    Attributes:
        fates: Determines the fate of a flow.
    """

    fates: Fates

    def answerer(self, dialler: KubePlace, host: str) -> KubePlace:
        """Return the place that has an address, as seen from the dialling place."""
        ...


class KubePlace(BasePlace):
    """A pod or a node as one check sees it.

    Attributes:
        site: The pod behind this handle.
    """

    _mesh: KubeSurroundings

    def __init__(
        self, mesh: KubeSurroundings, site: PooledPod, address: str, default_uid: int
    ) -> None:
        super().__init__(mesh, address, default_uid)
        self.site = site

    @property
    def link(self) -> AgentLink:
        """The link to the place's agents."""
        return self._mesh.backend.link(self.site)

    def reaches(self, host: str, port: int, *, within_s: float) -> bool:
        """Whether a TCP connection from here is accepted; it is not a flow of the check."""
        to = address_form(Address(host, port))
        return bool(self.link.ask(APP, "reaches", wait_s=within_s, to=to, within_s=within_s))

    def resolve(self, name: str) -> tuple[str, ...]:
        """Ask the place's resolver for a name, and return the addresses; empty if it has none."""
        family = self._mesh.family
        return tuple(self.link.ask(APP, "resolve", wait_s=RESOLVE_S, name=name, family=family))

    @property
    def _is_shared(self) -> bool:
        """Whether a listener of another program may serve instead of ours."""
        return False

    def _answerer(self, host: str) -> BasePlace:
        return self._mesh.answerer(self, host)

    def _open(self, flow: Flow, dial: Dial, *, keep: bool) -> RemoteConnection:
        return self._mesh.fates.open(self, flow, dial, keep=keep)

    def _open_all(self, flows: Iterable[Flow], dial: Dial) -> Iterator[Fate]:
        pending = iter(flows)
        while batch := list(islice(pending, _SWEEP)):
            yield from self._mesh.fates.sweep(self, batch, dial)

    def _send(self, flow: Flow, dial: Dial, payload: bytes) -> Fate:
        return self._reported(flow, "datagram", payload=bytes_form(payload), dial=dial_form(dial))

    def _ping(self, flow: Flow, payload: bytes) -> Fate:
        return self._reported(flow, "ping", uid=flow.uid or 0, payload=bytes_form(payload))

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> End:
        at = address_form(address)
        if protocol is Protocol.TCP:
            taken = self._is_shared
            number = self.link.ask(APP, "listen", at=at, uid=uid, unless_taken=taken)
        else:
            number = self.link.ask(APP, "hear", at=at, protocol=protocol.value, uid=uid)
        return partial(self._unlisten, number)

    def _unlisten(self, number: Json) -> None:
        if self.link.lost:
            return  # the agent and its listener have ended
        try:
            self.link.ask(APP, "unlisten", number=number)
        except BackendError:
            if not self.link.lost:
                raise

    def _reported(self, flow: Flow, name: str, **arguments: Json) -> Fate:
        """Have the agent send a datagram or an echo request, and return its fate."""
        mesh = self._mesh
        mesh.fetch()
        mark = mesh.mark()
        form = self.link.ask(
            APP,
            name,
            wait_s=mesh.timeout_s,
            to=address_form(flow.destination),
            **arguments,
        )
        report = Report.of(form)
        mesh.fetch()
        return Fate(flow, report.client, mesh.since(mark, flow), report.lost)


class KubeOutside(OutsidePlace, KubePlace):
    """A pod outside the mesh, or a node."""
