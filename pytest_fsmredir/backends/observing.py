"""One flow that a pod sends while an agent looks at it from inside that pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import Json, Report, address_form, address_of, sighting_of
from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.witness import Sighting

PATIENCE_S = 1.0
"""Seconds that a connection may stay silent before the socket tables are read."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the pod that sent a flow shows of it.

    Attributes:
        report: What the client saw.
        sighting: What the pod's tables show.
        went: Where the client's first packets went, on every interface; None if the agent may not
            see packets.
    """

    report: Report
    sighting: Sighting
    went: tuple[Address, ...] | None

    @classmethod
    def of(cls, form: Json) -> Observed:
        """Return the result of the agent's command ``observe``."""
        report, seen, went = form
        places = None if went is None else tuple(filter(None, map(address_of, went)))
        return cls(Report.of(report), sighting_of(seen), places)


def request(to: Address, uid: int, addresses: Sequence[str]) -> dict[str, Json]:
    """Return the arguments of the agent's command ``observe``.

    Args:
        to: The destination.
        uid: Owner of the client socket.
        addresses: The addresses of the pod.
    """
    return {
        "to": address_form(to),
        "addresses": list(addresses),
        "patience_s": PATIENCE_S,
        "dial": dial_form(Dial(uid=uid)),
    }
