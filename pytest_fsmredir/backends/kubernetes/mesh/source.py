"""What a mesh needs of its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.pods.pool import Order, PodPool, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPods
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import WorkloadObjects
from pytest_fsmredir.model.flow import Address, Fate


@dataclass(frozen=True, slots=True)
class World:
    """The places outside the mesh.

    Attributes:
        server: A pod on one of the named nodes, or anywhere.
        client: Another such pod.
        nodes: A pod on the network of each named node, by the node's name. Without named nodes, one
            on the network of some node, by an empty name. The client stands in if such pods are
            not permitted.
    """

    server: PooledPod
    client: PooledPod
    nodes: Mapping[str, PooledPod]

    @property
    def sites(self) -> tuple[PooledPod, ...]:
        """All of them."""
        return (self.server, self.client, *self.nodes.values())

    def addresses(self, node: str) -> dict[str, dict[int, str]]:
        """Return their addresses by name and IP version, as far as known, for pods of a node."""
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
        pool: Makes pods.
        probed_pods: The probed applications of the run.
        workload_objects: Makes objects that have templates.
    """

    world: World
    acceptance_log: AcceptanceLog
    pool: PodPool
    probed_pods: ProbedPods
    workload_objects: WorkloadObjects

    def shared_site(self, order: Order) -> PooledPod:
        """Return the pod of these settings that checks share."""
        ...

    def fresh_site(self, order: Order) -> PooledPod:
        """Return an unused pod of these settings."""
        ...

    def link(self, site: PooledPod) -> AgentLink:
        """Return the line to a pod's agents."""
        ...

    def remove(self, site: PooledPod) -> None:
        """Delete a pod."""
        ...

    def require_no_loop(self, order: Order) -> None:
        """See that no pod of these settings was stopped because it loops.

        Raises:
            PodStoppedError: One was.
        """
        ...

    def abandon(self, site: PooledPod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself: it would take ever more of its node.

        Where an ordinary flow loops, every pod of these settings does, so no other one is made. A
        pod that the run has not made stays as it is.
        """
        ...
