"""What the witness concludes when the socket tables are read at an unlucky moment."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_fsmredir.agent.forms import Json, Report, sighting_form
from pytest_fsmredir.backends.kubernetes.mesh.fates_observed import ObservedMesh, Witnessing
from pytest_fsmredir.backends.kubernetes.mesh.surroundings import Dialler
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Direction, Fate, Flow
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.witness import Sighting

CLIENT, SIDECAR = Address("10.0.0.1", 4000), Address("10.0.0.1", 5000)
SERVER = Address("10.0.0.2", 8080)
CAPTURED = Acceptance(0, Acceptor.SIDECAR_OUTBOUND, Address("127.0.0.1", 15001), CLIENT, SERVER)


class Pod:
    """A pod with a foreign sidecar, its agent, and the mesh around it."""

    addresses = (CLIENT.host,)
    timeout_s = 5.0

    def __init__(self, answered: Address, *reads: Sighting) -> None:
        self.site, self.link, self.backend = object(), self, self
        self.acceptance_log = SimpleNamespace(witnessed=lambda _: None, note=lambda _: True)
        self._answered = Acceptance(1, Acceptor.ORIGIN, SERVER, answered)
        self._reads = list(reads)
        self.asked: list[str] = []

    def ask(self, _agent: str, name: str, **_arguments: Json) -> list[Json]:
        """Answer one flow, and read the tables."""
        self.asked.append(name)
        seen = sighting_form(self._reads.pop(0))
        report = Report(CLIENT, None, self._answered, connected=True).as_form()
        return [[1, report, seen]] if name == "hold" else [seen]

    def defer(self, _command: object) -> None:
        """Close nothing."""

    def mark(self) -> int:
        """Return the number of known acceptances."""
        return 0

    def pod_at(self, _place: object) -> Pod:
        """Return this pod: it dials."""
        return self

    def pod_of(self, _host: str) -> None:
        """Return nothing: the destination is outside the mesh."""

    def loopback(self) -> str:
        """Return the loopback address."""
        return "127.0.0.1"

    def fate(self) -> Fate:
        """Dial the server, and return the fate of the flow."""
        flow = Flow(Direction.OUTBOUND, SERVER, uid=1000)
        witnessing = Witnessing(cast("ObservedMesh", self))
        return witnessing.open(cast("Dialler", self), flow, Dial(), keep=False).fate


@pytest.mark.parametrize(
    ("answered", "reads", "captured"),
    [
        (SIDECAR, [Sighting((CAPTURED,), tracking=True)], True),
        (SIDECAR, [Sighting(tracking=True), Sighting((CAPTURED,), tracking=True)], True),
        (SIDECAR, [Sighting(tracking=True), Sighting(tracking=True)], False),
        (CLIENT, [Sighting(tracking=True)], False),
    ],
    ids=["seen at once", "seen later", "translated source", "direct"],
)
def test_forwarder_that_one_read_misses_is_seen_by_the_next(
    answered: Address, reads: Sequence[Sighting], captured: bool
) -> None:
    """Catches: a captured flow that counts as direct because a read of the tables missed it."""
    pod = Pod(answered, *reads)
    fate = pod.fate()
    assert bool(fate.captured_outbound) is captured
    assert pod.asked == ["hold", "witness"][: len(reads)]
