"""The Kubernetes backends: one namespace a run, and pods of the mesh in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from pytest_fsmredir.backends.kubernetes import leftovers
from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import SIDECAR, agent_config_map
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.remote import needs_met
from pytest_fsmredir.backends.kubernetes.mesh.fates_observed import Witnessing
from pytest_fsmredir.backends.kubernetes.mesh.fates_recorded import Recording
from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.planning import Orders, is_final, plan
from pytest_fsmredir.backends.kubernetes.mesh.source import World
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.pool import Order, PodPool, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPods
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import WorkloadObjects
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.places import SIDECAR_PORTS, is_loopback
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import PodStoppedError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.flow import Address, Direction, Fate


class KubernetesBackend:
    """Pods in a namespace of a cluster, programmed by an init container.

    Args:
        cluster: Where.
        inject: Makes what injects the pods.
        images: Where containers come from.
        timeout_s: How long a flow may take.
        init_timeout_s: How long the init container may take.
        name: As on the command line.
        answered: Returns the ranges outside the cluster that its nodes answer for, as soon as pods
            have addresses.
        keep: Leave the namespace behind.
        nodes: Names of the nodes that meshes can be asked for; none for meshes whose pods are
            wherever the scheduler puts them.
        on_nodes: Have a place on the network of each node, which takes the right to make such pods;
            otherwise nobody answers for addresses outside the cluster.

    Attributes:
        name: As on the command line.
        world: The places outside the mesh.
        acceptance_log: Everything accepted in the run.
        pool: Makes pods.
        probed_pods: The probed applications of the run.
        workload_objects: Makes objects that have templates.
    """

    def __init__(
        self,
        cluster: Cluster,
        inject: Inject,
        *,
        images: Images,
        timeout_s: float,
        init_timeout_s: float = 30.0,
        name: str = "kind",
        answered: Callable[[], Sequence[str]] = tuple,
        keep: bool = False,
        nodes: Sequence[str] = (),
        on_nodes: bool = True,
    ) -> None:
        self.name = name
        self._keep = keep
        self._timeout_s = timeout_s
        self._shared: dict[str, PooledPod] = {}
        self._looped: dict[str, Fate] = {}
        self.acceptance_log = AcceptanceLog()
        injection = inject(cluster, images)
        # A foreign sidecar reports nothing, so read the pod's socket tables.
        self._fates = Recording if SIDECAR in injection.agents else Witnessing
        self._offers = self._fates.offers | {Need.WORKLOADS} | injection.granted
        self._withheld, self._answered = injection.withheld, answered
        with ExitStack() as undo:
            undo.callback(cluster.close)
            namespaces.sweep(cluster)
            undo.enter_context(leftovers.guarded(cluster, injection.mesh_namespace))
            namespace = undo.enter_context(
                namespaces.namespace(
                    cluster, keep=keep, config_map=agent_config_map(injection.files)
                )
            )
            self.pool = PodPool(
                cluster,
                namespace,
                images,
                injection,
                init_timeout_s=init_timeout_s,
                acceptance_log=self.acceptance_log,
                timeout_s=timeout_s,
            )
            undo.callback(self.pool.close)
            self.probed_pods, self.workload_objects = (
                ProbedPods(self.pool),
                WorkloadObjects(self.pool),
            )
            # Other nodes than the ones that were named may take no pods of ours.
            server, client = (self.pool.place(name, *nodes) for name in ("server", "client"))
            hosts = {
                node: self.pool.place(f"node-{number}", node, host_network=True)
                for number, node in enumerate(nodes or ("",), 1)
                if on_nodes
            }
            self.world = World(server, client, hosts or dict.fromkeys(nodes or ("",), client))
            self._undo = undo.pop_all()
        self._up = False
        self._remote_ranges: Sequence[str] = ()

    def offers(self, family: int) -> frozenset[Need]:
        """Return the needs of checks that it can meet on an IP version."""
        self._await_world()
        return (self._offers | needs_met(self._remote_ranges, family)) - self._withheld

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions of the cluster's pods."""
        self._await_world()
        return tuple(sorted({Address(host, 0).family for host in self.world.server.addresses}))

    @property
    def kept(self) -> str:
        """What it will leave behind because that was asked for, and how to remove it."""
        name = self.pool.namespace
        return f"namespace {name} (kubectl delete namespace {name})" if self._keep else ""

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the verdict should know about the mesh."""
        return self.pool.remarks

    def prepare(self, wanted: Iterable[Wanted]) -> None:
        """Make the pods that checks will want, all at once.

        Raises:
            BackendError: One of them cannot come up.
        """
        functions = list(wanted)
        early = plan(functions, lambda _node: {}, self._timeout_s)
        made = self._make([order for order in early if is_final(order)], early)
        self._await_world()
        late = plan(functions, self.world.addresses, self._timeout_s)
        known = {site.order.key for site in made if site.order is not None}
        missing = [o for o in late if is_final(o) and o.key not in known]
        made += self._make(missing, late)
        if not self.pool.configure({}):  # else checks learn why the mesh refuses to have no lists
            self.probed_pods.make(late.exhibits)
            self.workload_objects.make(late.templates)
        self.pool.wait(made)

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> KubeMesh:
        """Return the mesh of one run of one check; the caller closes it."""
        self._await_world()
        return KubeMesh(
            self,
            family,
            iptables,
            timeout_s=self._timeout_s,
            exhaustive=exhaustive,
            fates=self._fates,
            node=node,
        )

    def shared_site(self, order: Order) -> PooledPod:
        """Return the pod of these settings that checks share."""
        if order.key not in self._shared:
            self._shared[order.key] = self.pool.take(order)
        return self._shared[order.key]

    def fresh_site(self, order: Order) -> PooledPod:
        """Return a pod of these settings that nobody has had."""
        return self.pool.take(order)

    def abandon(self, site: PooledPod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself: it would take ever more of its node.

        Where an ordinary flow loops, every pod of these settings does, so no other one is made. A
        pod that the run has not made stays as it is.
        """
        order = site.order
        if order is None:
            return
        if _is_ordinary(fate, site):
            self._looped[order.key] = fate
        elif self._shared.get(order.key) is site:
            del self._shared[order.key]
        self.remove(site)

    def require_no_loop(self, order: Order) -> None:
        """See that no pod of these settings was stopped because it loops.

        Raises:
            PodStoppedError: One was.
        """
        if order.key in self._looped:
            raise PodStoppedError(
                "its pod was stopped, because the sidecar in it dials itself, as another check says"
            )

    def link(self, site: PooledPod) -> AgentLink:
        """Return the line to a pod's agents."""
        return self.pool.link(site)

    def remove(self, site: PooledPod) -> None:
        """Delete a pod that nobody wants any more."""
        self.pool.remove(site)

    def close(self) -> None:
        """Remove everything."""
        self._undo.close()

    def _await_world(self) -> None:
        if not self._up:
            self.pool.wait(self.world.sites)
            self._remote_ranges = self._answered()
            self._up = True

    def _make(self, orders: Sequence[Order], of: Orders) -> list[PooledPod]:
        """Make pods, shared ones apart from spare ones."""
        sites = self.pool.make(orders)
        fresh = {id(order) for order in of.fresh}
        for site in sites:
            if site.order is not None and id(site.order) not in fresh:
                self._shared[site.order.key] = site
        self.pool.keep_spare(site for site in sites if id(site.order) in fresh)
        return sites


def _is_ordinary(fate: Fate, site: PooledPod) -> bool:
    """Whether a flow is one that must never loop, as between the pod and another host (SPEC-4.2).

    What an application sends to its own pod, or anybody to the sidecar's ports, only should not
    loop (SPEC-4.5).
    """
    host, port = fate.flow.destination
    if fate.flow.direction is Direction.INBOUND:
        return port not in SIDECAR_PORTS
    return host not in site.addresses and not is_loopback(host)
