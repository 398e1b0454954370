"""Find out which pods the checks need, by running them on a mesh that only records orders.

Nothing is sent. Every flow has the fate that its check expects, so the check goes on to its next
order. An exception in a check ends its planning: pods that it needs later are made when it asks,
one after the other, and a remark says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import cast

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.facets import MadeFacets, Sidecars
from pytest_fsmredir.backends.kubernetes.mesh.planned_places import (
    Budget,
    Hopeful,
    PlannedPlace,
    PlannedPod,
)
from pytest_fsmredir.backends.kubernetes.pods.kubelet import case_of
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPod
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import Template
from pytest_fsmredir.backends.places import remote_subnet
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.backends.workloads import Probe, ProbeBy, ProbeResult, Workload, Workloads
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Facet, call
from pytest_fsmredir.model.flow import Fate
from pytest_fsmredir.model.reserved import LOOPBACK

UNKNOWN = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Placeholder for an address that is not known yet (RFC 5737, RFC 3849)."""

UNKNOWN_SERVICE = {4: "192.0.2.2", 6: "2001:db8::2"}
"""Placeholder for the address of a Service that is not known yet."""

_HEADLESS = "headless-service"


@dataclass
class Orders:
    """The pods and objects that checks have ordered.

    Attributes:
        shared: Pods that checks share, by the key of their order.
        fresh: Pods that one check uses alone.
        probed_pods: Probed applications, which checks share.
        templates: Templates of objects that one check uses alone.
        unplanned: Why the planning of a check ended early, by the name of its function.
    """

    shared: dict[str, Order] = field(default_factory=dict)
    fresh: list[Order] = field(default_factory=list)
    probed_pods: list[ProbedPod] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)
    unplanned: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Order]:
        return iter([*self.shared.values(), *self.fresh])

    def share(self, order: Order) -> None:
        """Order a pod that checks share."""
        self.shared.setdefault(order.key, order)


def plan(
    functions: Iterable[Wanted],
    addresses: Callable[[str], Mapping[str, Mapping[int, str]]],
    timeout_s: float,
) -> Orders:
    """Return the pods that some checks will need.

    Args:
        functions: The functions of the checks, each with the parameters of its run.
        addresses: Takes the name of a node, and returns the known addresses of the places
            ``server``, ``client`` and ``node``, by IP version.
        timeout_s: Seconds that a flow may take, as the mesh reports it.
    """
    orders = Orders()
    for wanted in functions:
        mesh = PlanningMesh(orders, wanted, addresses(wanted.node), timeout_s)
        try:
            for _ in call(wanted.function, mesh):
                pass  # a later part of the check may order further pods
        except Exception as error:  # whatever a check raises that does not expect a Hopeful
            name = wanted.function.__name__
            orders.unplanned[name] = f"{type(error).__name__}: {error}"
    return orders


def is_final(order: Order) -> bool:
    """Whether all addresses in an order are known."""
    configuration = order.configuration
    text = repr((dict(configuration.annotations), dict(configuration.traffic)))
    placeholders = [*UNKNOWN.values(), *UNKNOWN_SERVICE.values()]
    return not any(address in text for address in placeholders)


class PlanningMesh:
    """A mesh that records orders; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        orders: What the checks have ordered.
        budget: The calls that the check may still make.
    """

    exhaustive = False
    highest_id = crowd = 0  # the user id and the number of flows do not change the orders

    def __init__(
        self,
        orders: Orders,
        wanted: Wanted,
        addresses: Mapping[str, Mapping[int, str]],
        timeout_s: float,
    ) -> None:
        self.family, self.iptables, self.timeout_s = wanted.family, wanted.iptables, timeout_s
        self.orders, self.budget = orders, Budget()
        self._node = wanted.node
        self.server, self.client, self.node = (
            PlannedPlace(self.budget, addresses.get(name, {}).get(self.family) or self._unknown)
            for name in ("server", "client", "node")
        )
        self._facets = MadeFacets(self, (PlannedSidecars, PlannedWorkloads))

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> PlannedPod:
        """Record an order for a pod."""
        self.budget.spend()
        order = self.order(annotations, mesh_config)
        if fresh:
            self.orders.fresh.append(order)
        elif order.configuration.is_valid:
            self.orders.share(order)
        # An invalid configuration gets a pod only from an implementation that wrongly accepts it.
        return self.planned_pod()

    def bare_pod(self) -> PlannedPod:
        """Record an order for a pod without an init container."""
        self.budget.spend()
        self.orders.share(Order(Configuration(), self.iptables, bare=True, node=self._node))
        return self.planned_pod()

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Record an order for a pod that the implementation may refuse."""
        self.budget.spend()
        self.orders.share(self.order(annotations, mesh_config))
        return cast("Programming", Hopeful(self.budget))

    def facet(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol."""
        return self._facets.get(kind)

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    def planned_pod(self) -> PlannedPod:
        """Return a pod whose address is not known yet."""
        return PlannedPod(self.budget, self._unknown)

    def order(
        self,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Order:
        """Return the order of a pod with these settings."""
        configuration = asked_for(annotations, mesh_config)
        return Order(configuration, self.iptables, node=self._node)

    @property
    def _unknown(self) -> str:
        return UNKNOWN[self.family]


class PlannedSidecars(Sidecars):
    """Controls no sidecar."""

    def __init__(self, mesh: PlanningMesh) -> None:
        self._mesh = mesh

    def forwarding(
        self, pod: Pod, services: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:
        """Do nothing."""
        del pod, services
        return nullcontext()

    def stopped(self, pod: Pod) -> AbstractContextManager[None]:
        """Do nothing."""
        del pod
        return nullcontext()


class PlannedWorkload(Workload):
    """An object that is only ordered."""

    def __init__(self, mesh: PlanningMesh) -> None:
        self._mesh = mesh

    @property
    def pod(self) -> PlannedPod:
        """Return a pod whose address is not known yet."""
        return self._mesh.planned_pod()

    def restart(self, *, annotations: Mapping[str, str] | None = None) -> PlannedPod:
        """Return a pod whose address is not known yet; its controller makes it."""
        del annotations
        return self._mesh.planned_pod()


class PlannedWorkloads(Workloads):
    """Records the workloads and probes that a check orders."""

    def __init__(self, mesh: PlanningMesh) -> None:
        self._mesh = mesh

    def workload(
        self, kind: str, *, annotations: Mapping[str, str] | None = None
    ) -> PlannedWorkload:
        """Record an order for an object with a pod template."""
        mesh = self._mesh
        mesh.budget.spend()
        mesh.orders.templates.append(Template(kind, mesh.order(annotations)))
        return PlannedWorkload(mesh)

    def installed_lists(self) -> Configuration:
        """Return lists that are not known yet."""
        return Configuration()

    def annotate(self, pod: Pod, annotations: Mapping[str, str]) -> None:
        """Do nothing."""

    def mesh_config(self, lists: Mapping[str, Sequence[object]]) -> AbstractContextManager[None]:
        """Do nothing."""
        del lists
        return nullcontext()

    def host_network_pod(self) -> PlannedPlace:
        """Return a place whose address is not known yet."""
        return self._mesh.planned_pod()

    def first_flow(self, to: Place, port: int) -> Fate:
        """Return a stand-in."""
        return self._mesh.server.connect(to, port)

    def probe(self, probe: Probe, by: ProbeBy, *, alive: bool) -> ProbeResult:
        """Record an order for a probed application."""
        mesh = self._mesh
        mesh.budget.spend()
        case = case_of(probe, by, alive=alive)
        mesh.orders.probed_pods.append(ProbedPod(mesh.order(), case))
        return ProbeResult(probe, by, alive, alive, mesh.planned_pod())

    def service(self, pod: Pod, port: int, *, headless: bool = False) -> str:
        """Return a name."""
        del pod, port
        return _HEADLESS if headless else "service"

    def resolve(self, pod: Pod, name: str) -> tuple[str, ...]:
        """Return an address that is not known yet; a headless Service has that of its pod."""
        del pod
        return ((UNKNOWN if name == _HEADLESS else UNKNOWN_SERVICE)[self._mesh.family],)
