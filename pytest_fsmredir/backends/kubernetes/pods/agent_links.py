"""The links to the agents in the pods of a run."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import Any

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.access import Access, Attached, Ephemeral
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, ExecStream
from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn, Images
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.sidecars.recorder import HEALTH_UID


class AgentLinks:
    """Opens the links to agents.

    Args:
        cluster: The cluster to use.
        namespace: Namespace of the run.
        images: The images of the containers.
        acceptance_log: The log that numbers the agents and collects what they accept.
        timeout_s: Seconds that a flow may take.
        hands: Opens the streams.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        images: Images,
        acceptance_log: AcceptanceLog,
        *,
        timeout_s: float,
        hands: Executor,
    ) -> None:
        self._acceptance_log, self._timeout_s, self._hands = acceptance_log, timeout_s, hands
        ephemeral, attached = (
            Ephemeral(cluster, namespace, images.pod),
            Attached(cluster, namespace),
        )
        self._outside: Access = attached
        self._in_mesh: Access = ephemeral if images.agent_in is AgentIn.EPHEMERAL else attached

    def dial(self, site: PooledPod, access: Access | None = None) -> Future[ExecStream]:
        """Start to open the stream to a pod's agents.

        Args:
            site: The pod.
            access: The way to its agents; None for that of every pod of the run.
        """
        way = access or (self._outside if site.order is None else self._in_mesh)
        site.stream = self._hands.submit(way.open, site.name, site.agents)
        return site.stream

    def of(self, site: PooledPod) -> AgentLink:
        """Return the link to a pod's agents."""
        if site.link is None:
            stream = site.stream or self.dial(site)
            site.link = AgentLink(site.name, stream.result(), site.agents)
            self._acceptance_log.enrol(site.link, self._timeout_s)
            if site.order is not None and not site.has_health:
                # FSM injects no health responder into a pod without probes. So the agent opens a
                # socket of a third user, which is neither the sidecar nor the application.
                site.link.ask(APP, "health", addresses=list(site.addresses), uid=HEALTH_UID)
        return site.link


def close_links(sites: Iterable[PooledPod]) -> None:
    """Close the links to some pods, and the streams that no link uses."""
    for site in sites:
        end_guest(site)
        if site.link is not None:
            site.link.close()
        elif site.stream is not None:
            close_stream(site.stream)


def end_guest(site: PooledPod) -> None:
    """End our container for evidence in a pod, if there is one."""
    if site.guest is not None and _came(site.guest):
        site.guest.result().close()


def close_stream(stream: Future[ExecStream]) -> None:
    """Close a stream that was to be opened, if it was."""
    if _came(stream):
        stream.result().close()


def _came(stream: Future[Any]) -> bool:
    return not stream.cancelled() and stream.exception() is None
