"""What the places of a mesh, and the ways to determine fates, use of each other and of the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

from pytest_fsmredir.agent.forms import Report
from pytest_fsmredir.backends.kubernetes.agents.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.mesh.source import MeshSource
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.model.flow import Acceptance, Fate, Flow
from pytest_fsmredir.traffic.dial import Dial


class Dialler(Protocol):
    """A place that dials.

    Attributes:
        site: The pod behind it.
    """

    site: PooledPod

    @property
    def link(self) -> AgentLink:
        """The link to the place's agents."""
        ...


class Acceptances(Protocol):
    """The acceptances that a mesh knows.

    Attributes:
        backend: Where the mesh gets its pods.
        timeout_s: Seconds that a flow may take.
    """

    backend: MeshSource
    timeout_s: float

    def mark(self) -> int:
        """Return the number of known acceptances."""
        ...

    def since(self, mark: int, flow: Flow) -> tuple[Acceptance, ...]:
        """Return the acceptances since a mark; if sidecars forward, those of the whole path."""
        ...

    def learn(self, *reports: Report) -> None:
        """Log the acceptances in reports, and fetch the agents' logs if that may not be all."""
        ...

    def fetch(self) -> None:
        """Fetch the acceptances of all places of the check."""
        ...


class Fates(Protocol):
    """How a mesh determines the fate of a TCP flow.

    Attributes:
        offers: The needs of checks that only this way meets.
        sees_others: Acceptances of foreign programs are seen too.
    """

    offers: ClassVar[frozenset[Need]]
    sees_others: ClassVar[bool]

    def open(self, place: Dialler, flow: Flow, dial: Dial, *, keep: bool) -> RemoteConnection:
        """Dial from a place.

        Args:
            place: The place that dials.
            flow: The flow to open.
            dial: How to open it.
            keep: Leave the connection open; the caller closes it.
        """
        ...

    def sweep(self, place: Dialler, flows: Sequence[Flow], dial: Dial) -> Iterator[Fate]:
        """Dial several ports of one destination at once."""
        ...
