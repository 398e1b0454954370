"""Send one flow from a running pod, and see from inside that pod what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import Report, address_form, address_of, sighting_of
from pytest_fsmredir.agent.looking import ACCEPT_S
from pytest_fsmredir.backends.kubernetes.agents.access import (
    READING,
    Ephemeral,
    NotAdmittedError,
    Rights,
)
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.witness import Sighting

PATIENCE_S = 1.0
"""Seconds that a connection may stay silent before the socket tables are read."""

_READ_S = 30.0
_SENDING = ("SETUID", "SETGID")


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


class Sender:
    """An agent in an ephemeral container of a running pod."""

    def __init__(
        self, cluster: Cluster, namespace: str, pod: str, container: str, link: AgentLink
    ) -> None:
        self._cluster, self._link = cluster, link
        self._where = (namespace, pod, container)

    def send(
        self, to: Address, uid: int, addresses: Sequence[str], *, timeout_s: float
    ) -> Observed:
        """Open one TCP connection, look at it, and close it.

        Args:
            to: The destination.
            uid: Owner of the client socket.
            addresses: The addresses of the pod.
            timeout_s: Seconds that the connection may take.

        Raises:
            BackendError: The container may not make sockets of that user, or the agent is lost.
        """
        self._link.ask(APP, "hello", number=1, timeout_s=timeout_s)
        report, seen, went = self._link.ask(
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

    def printed(self, argv: Sequence[str]) -> str:
        """Run a program in the container, and return its standard output.

        Raises:
            ApiError: It could not be started, or did not end in time.
        """
        return self._cluster.run(*self._where, argv, _READ_S)[1]


@contextmanager
def sender(cluster: Cluster, namespace: str, pod: str, image: str, uid: int) -> Iterator[Sender]:
    """Add a container to a running pod for the block; it ends with the block.

    The container has the most rights that the cluster admits: those to send as any user and to read
    rules and packets; those to send as any user; none, so that it runs as the user of the flow.

    Args:
        cluster: The cluster of the pod.
        namespace: Namespace of the pod.
        pod: Name of the pod.
        image: Image of the container.
        uid: The user of the flow.

    Raises:
        BackendError: The pod takes no such container, or the container cannot start.
        DeadlineError: The container does not run in time.
    """
    most, less, least = Rights((*_SENDING, *READING)), Rights(_SENDING), Rights((), uid)
    for rights in (most, less, least):
        way = Ephemeral(cluster, namespace, image, rights)
        try:
            name = way.add(pod)
            break
        except NotAdmittedError as refused:
            if not refused.by_policy or rights is least:
                raise
    with closing(AgentLink(pod, way.stream(pod, name, APP), (APP,))) as link:
        yield Sender(cluster, namespace, pod, name, link)
