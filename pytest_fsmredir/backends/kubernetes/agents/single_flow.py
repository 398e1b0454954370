"""Send one flow from a running pod, and see from inside that pod what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import Report, address_form, address_of, sighting_of
from pytest_fsmredir.agent.looking import ACCEPT_S
from pytest_fsmredir.backends.kubernetes.agents.guest import Guest
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
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
        went: Where the client's first packets went, on every interface; None if the container may
            not see packets.
    """

    report: Report
    sighting: Sighting
    went: tuple[Address, ...] | None


def send(
    guest: Guest, to: Address, uid: int, addresses: Sequence[str], *, timeout_s: float
) -> Observed:
    """Open one TCP connection from a container in a pod, look at it, and close it.

    Args:
        guest: The container.
        to: The destination.
        uid: Owner of the client socket.
        addresses: The addresses of the pod.
        timeout_s: Seconds that the connection may take.

    Raises:
        BackendError: The container may not make sockets of that user, or the agent is lost.
    """
    guest.link.ask(APP, "hello", number=1, timeout_s=timeout_s)
    report, seen, went = guest.link.ask(
        APP,
        "observe",
        wait_s=timeout_s + PATIENCE_S + ACCEPT_S,
        to=address_form(to),
        addresses=list(addresses),
        patience_s=PATIENCE_S,
        dial=dial_form(Dial(uid=uid)),
    )
    places = None if went is None else tuple(filter(None, map(address_of, went)))
    return Observed(Report.of(report), sighting_of(seen), places)
