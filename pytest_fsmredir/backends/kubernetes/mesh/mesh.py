"""The mesh of one check: handles on pods of a cluster, and the cleanup of what the check opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network

from pytest_fsmredir.agent.forms import Report
from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.facets import MadeFacets
from pytest_fsmredir.backends.kubernetes.mesh.capturing import captured
from pytest_fsmredir.backends.kubernetes.mesh.fates_observed import Witnessing
from pytest_fsmredir.backends.kubernetes.mesh.fates_recorded import Recording
from pytest_fsmredir.backends.kubernetes.mesh.pausing import enter
from pytest_fsmredir.backends.kubernetes.mesh.places import KubeOutside, KubePlace
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod, own_pod
from pytest_fsmredir.backends.kubernetes.mesh.source import MeshSource
from pytest_fsmredir.backends.kubernetes.mesh.surroundings import Dialler, Fates
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.records import init_record, pod_object, pod_yaml
from pytest_fsmredir.backends.places import (
    is_loopback,
    remote_subnet,
    require_accepted,
    suspects_of,
)
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import Take
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Facet
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Direction, Fate, Flow
from pytest_fsmredir.model.reserved import LOOPBACK
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME

HIGHEST_ID = 65535
"""Highest user and group id in every container, even if its runtime uses a user namespace."""

_PROBED = {Acceptor.LIVENESS, Acceptor.READINESS, Acceptor.STARTUP, Acceptor.HEALTH}


class KubeMesh:
    """The mesh that one check gets; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        observed: Number of flows sent and programming attempts made; 0 shows that a check observed
            nothing.
        watch: Called after each flow of :meth:`KubePlace.connect_all`.
        forwarding: Number of sidecars that forward at the moment.
        fates: Determines the fate of a flow.
        pods_on: Name of the node of its pods; empty for any node.
    """

    highest_id = HIGHEST_ID
    python = "python3"

    def __init__(
        self,
        backend: MeshSource,
        family: int,
        iptables: IptablesVariant,
        facets: Iterable[Callable[[KubeMesh], object]] = (),
        *,
        timeout_s: float,
        exhaustive: bool,
        fates: type[Recording] | type[Witnessing] = Recording,
        node: str = "",
    ) -> None:
        self.backend, self.family, self.iptables = backend, family, iptables
        self.timeout_s, self.exhaustive = timeout_s, exhaustive
        self.crowd = 500 if exhaustive else 128
        self.observed = 0
        self.watch: Callable[[int, int | None], None] = lambda _done, _total: None
        self.forwarding = 0
        self.fates: Fates = fates(self)
        self.undo = ExitStack()
        self.pods_on = node
        world = backend.world
        own = world.nodes[node]
        self.server = KubeOutside(self, world.server, of_family(world.server.addresses, family), 0)
        self.client = KubeOutside(self, world.client, of_family(world.client.addresses, family), 0)
        self.node = KubeOutside(self, own, of_family(own.addresses, family), 0)
        self._pods: list[KubePod] = []
        self._facets = MadeFacets(self, facets)
        self._guests: list[KubeOutside] = []

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> KubePod:
        """Return a programmed pod."""
        order = self._order(annotations, mesh_config)
        with ONE_AT_A_TIME:
            self.backend.require_no_loop(order)
            site = self._fresh(order) if fresh else self.backend.shared_site(order)
        require_accepted(site.programming, order.configuration)
        return self._handle(site)

    def bare_pod(self) -> KubePod:
        """Return a pod without rules; no check can program it here, so all checks share it."""
        order = Order(Configuration(), self.iptables, bare=True, node=self.pods_on)
        return self._handle(self.backend.shared_site(order))

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Return the result of programming a pod; checks with equal settings share it."""
        self.observed += 1
        order = self._order(annotations, mesh_config)
        ended = self.backend.shared_site(order).programming
        return replace(ended, configuration=order.configuration)

    def facet(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol."""
        return self._facets.get(kind)

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    def adopt(self, site: PooledPod) -> KubePod:
        """Return a handle on a pod that this mesh did not make."""
        return self._handle(site)

    def dismiss(self, pod: KubePod) -> None:
        """Drop a pod that is about to be replaced."""
        self._pods.remove(pod)
        pod.link.close()

    def abandon(self, pod: KubePod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself, as this flow shows; the check fails."""
        if pod in self._pods:
            self._pods.remove(pod)
        self.backend.abandon(pod.site, fate)

    def outside(self, site: PooledPod) -> KubeOutside:
        """Return a handle on a pod outside the mesh; flows may start from it."""
        place = KubeOutside(self, site, self.own_address(site), 0)
        self._guests.append(place)
        return place

    def answerer(self, dialler: KubePlace, host: str) -> KubePlace:
        """Return the place that has an address, as seen from the dialling place."""
        if is_loopback(host):
            return dialler
        # The node answers for every address outside the cluster.
        return next((place for place in self._places() if place.is_own(host)), self.node)

    def own_address(self, site: PooledPod) -> str:
        """Return a pod's address of the check's IP version."""
        return of_family(site.addresses, self.family)

    def pod_of(self, host: str) -> KubePod | None:
        """Return the pod of the mesh that has an address."""
        return next((pod for pod in self._pods if pod.is_own(host)), None)

    def pod_at(self, place: Dialler) -> KubePod | None:
        """Return the place if it is a pod of the mesh, else None."""
        return place if isinstance(place, KubePod) else None

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations of the check's pods."""
        orders = (pod.site.order for pod in self._pods)
        return tuple(order.configuration for order in orders if order is not None)

    def losses(self) -> list[str]:
        """Return nothing: a pod that loses its network becomes not ready, which is detected."""
        return []

    def suspects(self, fate: Fate | None) -> list[KubePod]:
        """Return the pods that a flow left and reached; every pod without a flow."""
        return list(self._pods) if fate is None else suspects_of(fate, self._pods)

    def sent_again(self, pod: Pod, fate: Fate) -> dict[str, str | bytes]:
        """Send a flow once more, and return what both sides and the kernel saw, as files."""
        own = own_pod(pod)
        if fate.flow.direction is Direction.OUTBOUND:
            other = self.answerer(own, fate.flow.destination.host)
        else:
            sender = fate.client.host if fate.client is not None else self.client.address
            other = next((each for each in self._places() if each.is_own(sender)), self.client)
        return captured(own, other, fate, self.iptables, timeout_s=self.timeout_s)

    def inspect(self, pod: Pod, argv: Sequence[str]) -> Completed:
        """Run a program of ours as root with NET_ADMIN, in our container for evidence."""
        return Completed(*own_pod(pod).guest.run(argv))

    def particulars(self, pod: Pod) -> list[tuple[str, Take]]:
        """Return the pod's object, and the log of its init container."""
        pool, name = self.backend.pool, own_pod(pod).site.name
        found = partial(pod_object, pool.cluster, pool.namespace, name)
        log = partial(init_record, pool.cluster, pool.namespace)
        return [
            ("pod", lambda: {"pod.yaml": pod_yaml(found())}),
            ("implementation", lambda: {"implementation.txt": log(found())}),
        ]

    def enter(self, pod: Pod) -> None:
        """Run a shell in a pod on the terminal of this process, until it ends."""
        enter(own_pod(pod), self.iptables)

    def mark(self) -> int:
        """Return the number of known acceptances."""
        return len(self.backend.acceptance_log.log)

    def since(self, mark: int, flow: Flow) -> tuple[Acceptance, ...]:
        """Return the acceptances since a mark; if sidecars forward, those of the whole path."""
        if self.forwarding:
            self.fetch()
        log = self.backend.acceptance_log.log[mark:]
        return tuple(each for each in log if not self._is_kubelets(each, flow))

    def learn(self, *reports: Report) -> None:
        """Log the acceptances in reports, and fetch the agents' logs if that may not be all."""
        whole = not self.forwarding and all(report.lost is None for report in reports)
        note = self.backend.acceptance_log.note
        if not whole or not all(note(report.answered_by) for report in reports):
            self.fetch()

    def fetch(self) -> None:
        """Fetch the acceptances of all places of this check."""
        links = {id(place.link): place.link for place in self._places()}
        self.backend.acceptance_log.fetch(links.values())

    def close(self) -> None:
        """Close and remove what the check opened."""
        self.undo.close()

    def _is_kubelets(self, acceptance: Acceptance, flow: Flow) -> bool:
        """Whether an acceptance comes from a kubelet's probe, which can arrive at any time."""
        if acceptance.by not in _PROBED or acceptance.local.port == flow.destination.port:
            return False
        ours = (place for place in self._places() if place is not self.node)
        return not any(place.is_own(acceptance.peer.host) for place in ours)

    def _places(self) -> list[KubePlace]:
        return [*self._pods, self.server, self.client, self.node, *self._guests]

    def _handle(self, site: PooledPod) -> KubePod:
        pod = KubePod(self, site, self.own_address(site))
        self._pods.append(pod)
        return pod

    def _fresh(self, order: Order) -> PooledPod:
        site = self.backend.fresh_site(order)
        self.undo.callback(self.backend.remove, site)
        return site

    def _order(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
    ) -> Order:
        configuration = asked_for(annotations, mesh_config)
        return Order(configuration, self.iptables, node=self.pods_on)


def of_family(addresses: Sequence[str], family: int) -> str:
    """Return the first address of an IP version.

    Raises:
        BackendError: There is no such address.
    """
    for address in addresses:
        if Address(address, 0).family == family:
            return address
    raise BackendError(f"the cluster gives its pods no IPv{family} addresses")
