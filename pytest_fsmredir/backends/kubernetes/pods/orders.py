"""The orders for pods, and the pods of a run."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import dataclass, field

from pytest_fsmredir.backends.kubernetes.agents.guest import Guest
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.cluster.client import ExecStream
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Order:
    """A request for a pod.

    Attributes:
        configuration: Settings of the pod.
        iptables: The iptables variant that its init container should use.
        bare: Make no init container, so that the pod has no rules.
        node: Name of the node to run on; empty for any node.
    """

    configuration: Configuration
    iptables: IptablesVariant
    bare: bool = False
    node: str = ""

    @property
    def key(self) -> str:
        """A key that is the same for equal orders."""
        annotations = dict(self.configuration.annotations)
        parts = [annotations, self.mesh_lists, self.iptables, self.bare, self.node]
        return json.dumps(parts, sort_keys=True)

    @property
    def mesh_lists(self) -> dict[str, list[object]]:
        """The lists of the MeshConfig without empty ones, which mean the same as none."""
        return {key: list(values) for key, values in self.configuration.traffic.items() if values}


@dataclass
class PooledPod:
    """A pod of the run.

    Attributes:
        name: Name of the Pod object.
        agents: Names of the agents in the pod.
        order: The order of the pod; None for a place outside the mesh.
        addresses: Addresses of the pod, IPv4 first.
        programming: Result of the init container.
        trouble: Why the pod cannot come up; None if it is up, refused, or not up yet.
        has_health: The pod has a health responder.
        stream: The exec stream to the agents, once it is being opened.
        link: The link to the agents, once it is open.
        guest: Our container for evidence, once it was asked for.
    """

    name: str
    agents: tuple[str, ...]
    order: Order | None = None
    addresses: tuple[str, ...] = ()
    programming: Programming = field(default_factory=lambda: Programming(accepted=True))
    trouble: BackendError | None = None
    has_health: bool = False
    stream: Future[ExecStream] | None = None
    link: AgentLink | None = None
    guest: Future[Guest] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the pod is up, refused by the implementation, or cannot come up."""
        return bool(self.addresses or self.trouble) or not self.programming.accepted

    @property
    def ordered(self) -> Order:
        """The order of a pod of the mesh.

        Raises:
            ValueError: The pod is a place outside the mesh.
        """
        if self.order is None:
            raise ValueError(f"no test has ordered {self.name}")
        return self.order
