"""Send one flow from a running pod, and see from inside that pod what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fsmredir.agent.looking import ACCEPT_S
from pytest_fsmredir.backends.kubernetes.agents.guest import Guest
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.observing import PATIENCE_S, Observed, request
from pytest_fsmredir.model.flow import Address


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
    wait_s = timeout_s + PATIENCE_S + ACCEPT_S
    return Observed.of(guest.link.ask(APP, "observe", wait_s=wait_s, **request(to, uid, addresses)))
