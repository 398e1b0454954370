"""Forged packets that the search sends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pytest_fsmredir.model.claims import Statement, require
from pytest_fsmredir.model.flow import Direction, Route
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.probing.forging import Forger, Means
from pytest_fsmredir.rules.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator


class SilentLink:
    """A pod's link on which no packet passes."""

    def __init__(self) -> None:
        self.waits = 0

    @contextmanager
    def of(self, _pod: object) -> Iterator[SilentLink]:
        yield self

    def expect(self, what: str, _wanted: Callable[[object], bool]) -> None:
        self.waits += 1
        require(Statement(holds=False, expected=what, observed="nothing"))

    def inject(self, *_: object, **__: object) -> None:
        """Take a packet that never arrives."""


def test_pod_that_passes_no_forged_packet_is_given_up() -> None:
    """Catches: a check that waits for hours, since each of its flows waits for the time limit."""
    link = SilentLink()
    pod = SimpleNamespace(address="10.244.0.10", addresses=("10.244.0.10",))
    mesh, taps, forged = cast("Any", None), cast("Any", link), cast("Any", link)
    forger = Forger(Means(mesh, cast("Any", pod), taps, forged, Policy()))
    packet = Packet(
        direction=Direction.OUTBOUND, family=4, source=0x0AF4000A, destination=0xC633640A, port=8080
    )
    seen = {forger.wrong(packet, Route.SIDECAR_OUTBOUND) for _ in range(50)}
    assert seen == {None}
    assert link.waits < 5
