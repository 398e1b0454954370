"""The interface between the mesh of a check and its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPods
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import WorkloadObjects
from pytest_fsmredir.model.flow import Address, Fate


@dataclass(frozen=True, slots=True)
class World:
    """The places outside the mesh.

    Attributes:
        server: A pod on one of the named nodes, or on any node.
        client: Another such pod.
        nodes: A host-network pod on each named node, by the node's name. Without named nodes, one
            host-network pod with an empty name. If such pods are not permitted, the client takes
            their place.
    """

    server: PooledPod
    client: PooledPod
    nodes: Mapping[str, PooledPod]

    def replaced(self, old: PooledPod, new: PooledPod) -> World:
        """Return the world with another pod in the place of the server or the client."""
        server, client = (new if each is old else each for each in (self.server, self.client))
        return World(server, client, self.nodes)

    def addresses(self, node: str) -> dict[str, dict[int, str]]:
        """Return the known addresses by place and IP version, as seen by pods on a node."""
        named = {"server": self.server, "client": self.client, "node": self.nodes[node]}
        return {
            name: {Address(host, 0).family: host for host in reversed(site.addresses)}
            for name, site in named.items()
        }


class MeshSource(Protocol):
    """Where a mesh gets its pods.

    Attributes:
        world: The places outside the mesh.
        acceptance_log: Everything accepted in the run.
        pool: Makes the pods.
        probed_pods: The probed applications of the run.
        workload_objects: Makes objects that have a pod template, such as a Deployment.
    """

    world: World
    acceptance_log: AcceptanceLog
    pool: PodPool
    probed_pods: ProbedPods
    workload_objects: WorkloadObjects

    def shared_site(self, order: Order) -> PooledPod:
        """Return the pod with these settings that checks share."""
        ...

    def fresh_site(self, order: Order) -> PooledPod:
        """Return an unused pod with these settings."""
        ...

    def link(self, site: PooledPod) -> AgentLink:
        """Return the link to a pod's agents."""
        ...

    def remove(self, site: PooledPod) -> None:
        """Delete a pod."""
        ...

    def require_no_loop(self, order: Order) -> None:
        """Check that no pod with these settings was stopped because its sidecar dials itself.

        Raises:
            PodStoppedError: Such a pod was stopped.
        """
        ...

    def abandon(self, site: PooledPod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself: it would use up its node.

        If an ordinary flow loops, every pod with these settings loops, so no further one is made. A
        pod that the run did not make is left alone.
        """
        ...
