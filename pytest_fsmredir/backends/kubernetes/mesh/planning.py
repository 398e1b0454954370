"""Find out which pods the checks need, by running them on a mesh that only records orders.

Nothing is sent. Every flow has the fate that its check expects, so the check goes on to its next
order. An exception in a check ends its planning; pods that it needs later are made when it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import cast

from pytest_fsmredir.backends.base import Mesh
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.kubernetes.pods.kubelet import case_of
from pytest_fsmredir.backends.kubernetes.pods.pool import Order
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPod
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import Template
from pytest_fsmredir.backends.places import remote_subnet
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.backends.workloads import Probe, ProbeBy
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.model.reserved import LOOPBACK

UNKNOWN = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Placeholder for an address that is not known yet (RFC 5737, RFC 3849)."""

_CALLS = 2000  # of one check: stops a check that waits for an event that never happens here


class _Enough(Exception):
    """A check has made more calls than any check needs."""


@dataclass
class Orders:
    """The pods and objects that checks have ordered.

    Attributes:
        shared: Pods that checks share, by the key of their order.
        fresh: Pods that one check uses alone.
        probed_pods: Probed applications, which checks share.
        templates: Templates of objects that one check uses alone.
    """

    shared: dict[str, Order] = field(default_factory=dict)
    fresh: list[Order] = field(default_factory=list)
    probed_pods: list[ProbedPod] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)

    def __iter__(self) -> Iterator[Order]:
        return iter([*self.shared.values(), *self.fresh])


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
        with suppress(Exception, _Enough):  # a check may not accept a Hopeful
            for _ in wanted.function(cast("Mesh", mesh)) or ():
                pass  # a later part of the check may order further pods
    return orders


def is_final(order: Order) -> bool:
    """Whether all addresses in an order are known."""
    configuration = order.configuration
    text = repr((dict(configuration.annotations), dict(configuration.traffic)))
    return not any(address in text for address in UNKNOWN.values())


class Hopeful:
    """A stand-in for any object: each call, attribute and comparison succeeds."""

    def __init__(self, budget: list[int], **known: object) -> None:
        self._budget, self._known = budget, known

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._known.get(name, self)

    def __call__(self, *_: object, **__: object) -> Hopeful:
        """Return another stand-in."""
        self._budget[0] -= 1
        if self._budget[0] < 0:
            raise _Enough
        return Hopeful(self._budget)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Hopeful]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: object) -> Hopeful:
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __enter__(self) -> Hopeful:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlanningMesh:
    """A mesh that records orders; see :class:`pytest_fsmredir.backends.base.Mesh`."""

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
        self._orders, self._node = orders, wanted.node
        self._budget = [_CALLS]
        self.server, self.client, self.node = (
            self._place(addresses.get(name, {}).get(wanted.family, UNKNOWN[wanted.family]))
            for name in ("server", "client", "node")
        )

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
        second_interface: bool = False,
    ) -> Hopeful:
        """Record an order for a pod."""
        del second_interface
        self._take(annotations, mesh_config, fresh=fresh)
        return self._place(UNKNOWN[self.family])

    def bare_pod(self, *, second_interface: bool = False, single_family: bool = False) -> Hopeful:
        """Record an order for a pod without an init container."""
        del second_interface, single_family
        self._share(Order(Configuration(), self.iptables, bare=True, node=self._node))
        return self._place(UNKNOWN[self.family])

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Hopeful:
        """Record an order for a pod that the implementation may refuse."""
        self._share(self._order(annotations, mesh_config))
        return Hopeful(self._budget)

    @property
    def workloads(self) -> Hopeful:
        """What a user of the cluster can do; probes and workloads are recorded."""
        return Hopeful(self._budget, probe=self._probe, workload=self._workload)

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    def _probe(self, probe: Probe, by: ProbeBy, *, alive: bool) -> Hopeful:
        order = self._order()
        self._orders.probed_pods.append(ProbedPod(order, case_of(probe, by, alive=alive)))
        return Hopeful(self._budget)

    def _workload(self, kind: str, *, annotations: Mapping[str, str] | None = None) -> Hopeful:
        order = self._order(annotations)
        self._orders.templates.append(Template(kind, order))
        return Hopeful(self._budget)

    def _order(
        self,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Order:
        configuration = asked_for(annotations, mesh_config)
        return Order(configuration, self.iptables, node=self._node)

    def _place(self, address: str) -> Hopeful:
        own = Address(address, 0)
        return Hopeful(self._budget, address=own.host, addresses=(own.host,))

    def _take(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
        *,
        fresh: bool,
    ) -> None:
        order = self._order(annotations, mesh_config)
        if fresh:
            self._spend()
            self._orders.fresh.append(order)
        elif order.configuration.is_valid:
            self._share(order)
        # An invalid configuration gets a pod only from an implementation that wrongly accepts it.

    def _share(self, order: Order) -> None:
        self._spend()
        self._orders.shared.setdefault(order.key, order)

    def _spend(self) -> None:
        self._budget[0] -= 1
        if self._budget[0] < 0:
            raise _Enough
