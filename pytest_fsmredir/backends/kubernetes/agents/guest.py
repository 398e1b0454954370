"""A container of ours in a pod, with an agent, and programs next to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.agents.access import (
    READING,
    Ephemeral,
    NotAdmittedError,
    Rights,
)
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster

_RUN_S = 60.0
_SENDING = ("SETUID", "SETGID")


@dataclass(frozen=True, slots=True)
class Guest:
    """An ephemeral container in a pod.

    Attributes:
        cluster: The cluster of the pod.
        namespace: Namespace of the pod.
        pod: Name of the pod.
        name: Name of the container.
        link: The link to its agent, whose name is ``app``.
    """

    cluster: Cluster
    namespace: str
    pod: str
    name: str
    link: AgentLink

    def run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        """Run a program; return its exit status, standard output and error.

        Raises:
            ApiError: It could not be started, or did not end in time.
        """
        return self.cluster.run(self.namespace, self.pod, self.name, argv, _RUN_S)

    def close(self) -> None:
        """End the agent, and thereby the container."""
        self.link.close()


def join(cluster: Cluster, namespace: str, pod: str, image: str, uid: int) -> Guest:
    """Add a container to a running pod.

    The container has the most rights that the cluster admits: those to send as any user and to read
    rules and packets; those to send as any user; none, so that it runs as one user.

    Args:
        cluster: The cluster of the pod.
        namespace: Namespace of the pod.
        pod: Name of the pod.
        image: Image of the container.
        uid: The user of a container without rights.

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
    return Guest(cluster, namespace, pod, name, AgentLink(pod, way.stream(pod, name, APP), (APP,)))
