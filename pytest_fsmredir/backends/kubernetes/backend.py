"""Run checks in pods of a cluster, in one namespace for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress

from pytest_fsmredir.backends.kubernetes import leftovers
from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import SIDECAR, agent_config_map
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.nodes import nodes_of
from pytest_fsmredir.backends.kubernetes.cluster.remote import needs_met
from pytest_fsmredir.backends.kubernetes.mesh.fates_observed import Witnessing
from pytest_fsmredir.backends.kubernetes.mesh.fates_recorded import Recording
from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.planning import Orders, is_final, plan
from pytest_fsmredir.backends.kubernetes.mesh.sidecars import KubeSidecars
from pytest_fsmredir.backends.kubernetes.mesh.source import World
from pytest_fsmredir.backends.kubernetes.mesh.workloads import KubeWorkloads
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.nodes_in_turn import NodesInTurn
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPods
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import WorkloadObjects
from pytest_fsmredir.backends.places import SIDECAR_PORTS, is_loopback
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import BackendError, PodStoppedError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.facets import needs_met_by
from pytest_fsmredir.model.flow import Address, Direction, Fate


class KubernetesBackend:
    """Pods in a namespace of a cluster, programmed by an init container.

    Args:
        cluster: The cluster to use.
        inject: Returns the injection that puts the sidecar and the init container into pods.
        images: The images of the containers.
        timeout_s: Seconds that a flow may take.
        init_timeout_s: Seconds that the init container may take.
        name: Name of the backend on the command line.
        answered: Returns the ranges outside the cluster that its nodes answer for, as soon as pods
            have addresses.
        keep: Do not delete the namespace at the end.
        fleeting: The cluster is deleted at the end, so nobody has to delete the namespace.
        nodes: Names of the nodes that a mesh can be pinned to; empty to let the scheduler choose.
        on_nodes: Make a host-network pod on each node, which needs the right to make such pods.
            Without these pods no place answers for addresses outside the cluster.

    Attributes:
        name: Name of the backend on the command line.
        world: The places outside the mesh.
        acceptance_log: Everything accepted in the run.
        pool: Makes the pods.
        probed_pods: The probed applications of the run.
        workload_objects: Makes objects that have a pod template, such as a Deployment.
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
        fleeting: bool = False,
        nodes: Sequence[str] = (),
        on_nodes: bool = True,
    ) -> None:
        self.name = name
        self._keep = keep
        self._timeout_s = timeout_s
        self._shared: dict[str, PooledPod] = {}
        self._looped: dict[str, Fate] = {}
        self._unplanned: dict[str, str] = {}
        self.acceptance_log = AcceptanceLog()
        injection = inject(cluster, images)
        # A foreign sidecar reports nothing, so read the pod's socket tables.
        answering = SIDECAR in injection.agents
        self._fates = Recording if answering else Witnessing
        made = (KubeWorkloads, KubeSidecars) if answering else (KubeWorkloads,)
        self._facets = tuple(each for each in made if not needs_met_by([each]) & injection.withheld)
        self._offers = needs_met_by(self._facets) | self._fates.offers | injection.granted
        self._withheld, self._answered = injection.withheld, answered
        with ExitStack() as undo:
            undo.callback(cluster.close)
            namespaces.sweep(cluster)
            undo.enter_context(leftovers.guarded(cluster, injection.mesh_namespace))
            files = agent_config_map(injection.files)
            namespace = undo.enter_context(
                namespaces.namespace(cluster, keep=keep, fleeting=fleeting, config_map=files)
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
            self.probed_pods = ProbedPods(self.pool)
            self.workload_objects = WorkloadObjects(self.pool)
            self.world = _world(self.pool, nodes or ("",), on_nodes=on_nodes)
            self._undo = undo.pop_all()
        self._up = False
        self._remote_ranges: Sequence[str] = ()
        self._turns = self._in_turn(())

    def offers(self, family: int) -> frozenset[str]:
        """Return the needs of checks that this backend meets on an IP version."""
        self._await_world()
        return (self._offers | needs_met(self._remote_ranges, family)) - self._withheld

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions of the cluster's pods."""
        self._await_world()
        return tuple(sorted({Address(host, 0).family for host in self.world.server.addresses}))

    @property
    def kept(self) -> str:
        """What the run leaves behind because of ``keep``, and how to remove it."""
        name = self.pool.namespace
        return f"namespace {name} (kubectl delete namespace {name})" if self._keep else ""

    @property
    def remarks(self) -> Sequence[str]:
        """Notes on the mesh that belong next to the verdict, and on checks that prepare slowly."""
        slow = (
            f"the pods of {name} could not be made in advance: {why}"
            for name, why in self._unplanned.items()
        )
        return [*self.pool.remarks, *slow]

    def prepare(self, wanted: Iterable[Wanted]) -> None:
        """Make the pods that the checks on the first nodes will need, all at once.

        It waits for one of them, which shows whether pods can come up at all. A check waits for its
        own pods, so that checks run while other pods start.

        Raises:
            BackendError: The pod cannot come up.
        """
        self._turns = self._in_turn(list(wanted))
        self._turns.begin()

    def _in_turn(self, wanted: Sequence[Wanted]) -> NodesInTurn:
        return NodesInTurn(
            self.pool.cluster,
            wanted,
            make=self._start,
            wait=self.pool.watcher.wait,
            remove=self._discard,
        )

    def _start(self, functions: Sequence[Wanted]) -> list[PooledPod]:
        """Start the pods that some checks will need."""
        early = plan(functions, lambda _node: {}, self._timeout_s)
        made = self._make([order for order in early if is_final(order)], early)
        self._await_world()
        for node in dict.fromkeys(each.node for each in functions):
            with suppress(BackendError):  # the node's own checks report it
                self._await_host(node)
        late = plan(functions, self.world.addresses, self._timeout_s)
        self._unplanned |= late.unplanned
        known = {site.order.key for site in made if site.order is not None}
        missing = [o for o in late if is_final(o) and o.key not in known]
        made += self._make(missing, late)
        if not self.pool.configure({}):  # else each check reports why the mesh refuses empty lists
            self.probed_pods.make(late.probed_pods)
            self.workload_objects.make(late.templates)
        return made

    def renew(self) -> bool:
        """Replace the server and the client if their links were lost; return whether they were.

        Raises:
            BackendError: No new place comes up.
        """
        lost = [site for site in (self.world.server, self.world.client) if _is_lost(site)]
        for site in lost:
            alive = [each.name for each in nodes_of(self.pool.cluster) if not each.trouble]
            nodes = [name for name in self.world.nodes if name in alive]
            fresh = self.pool.place(self.pool.name("place"), *nodes)
            self.pool.watcher.wait([fresh])
            self.world = self.world.replaced(site, fresh)
            self.remove(site)
        return bool(lost)

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> KubeMesh:
        """Return the mesh for one run of one check; the caller closes it.

        Raises:
            BackendError: The node cannot be judged.
        """
        self._await_world()
        self._catch_up(self._turns.reach(node))
        self._await_host(node)
        return KubeMesh(
            self,
            family,
            iptables,
            self._facets,
            timeout_s=self._timeout_s,
            exhaustive=exhaustive,
            fates=self._fates,
            node=node,
        )

    def shared_site(self, order: Order) -> PooledPod:
        """Return the pod with these settings that checks share.

        Raises:
            BackendError: It cannot come up.
        """
        if order.key not in self._shared:
            self._shared[order.key] = self.pool.take(order)
        return self._turns.wait(self._shared[order.key])

    def fresh_site(self, order: Order) -> PooledPod:
        """Return an unused pod with these settings.

        Raises:
            BackendError: It cannot come up.
        """
        return self._turns.wait(self.pool.take(order))

    def abandon(self, site: PooledPod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself: it would use up its node.

        If an ordinary flow loops, every pod with these settings loops, so no further one is made. A
        pod that the run did not make is left alone.
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
        """Check that no pod with these settings was stopped because its sidecar dials itself.

        Raises:
            PodStoppedError: Such a pod was stopped.
        """
        if order.key in self._looped:
            raise PodStoppedError(
                "its pod was stopped, because the sidecar in it dials itself, as another check says"
            )

    def link(self, site: PooledPod) -> AgentLink:
        """Return the link to a pod's agents."""
        self._turns.use(site)
        return self.pool.links.of(site)

    def remove(self, site: PooledPod) -> None:
        """Delete a pod."""
        self.pool.remove(site)

    def close(self) -> None:
        """Remove everything."""
        self._undo.close()

    def _await_world(self) -> None:
        if not self._up:
            self.pool.watcher.wait([self.world.server, self.world.client])
            if "" in self.world.nodes:
                self._await_host("")
            self._remote_ranges = self._answered()
            self._up = True

    def _await_host(self, node: str) -> None:
        """Wait for the host-network pod of a node."""
        if not self.world.nodes[node].addresses:
            self.pool.watcher.wait([self.world.nodes[node]])

    def _catch_up(self, sites: Iterable[PooledPod]) -> None:
        """Fetch what agents accepted in a check that ended when it lost a link.

        Otherwise the next flow to the same pod would count these acceptances as its own.
        """
        for site in sites:
            if site.link is not None:
                with suppress(BackendError):  # its next check reports that it is lost, too
                    self.acceptance_log.fetch([site.link])

    def _discard(self, site: PooledPod) -> None:
        """Remove a pod that no later check needs."""
        if not self._keep and site.order is not None:
            self._shared.pop(site.order.key, None)
            self.pool.discard(site)

    def _make(self, orders: Sequence[Order], of: Orders) -> list[PooledPod]:
        """Make pods, and file them as shared or spare."""
        sites = self.pool.make(orders)
        fresh = {id(order) for order in of.fresh}
        for site in sites:
            if site.order is not None and id(site.order) not in fresh:
                self._shared[site.order.key] = site
        self.pool.keep_spare(site for site in sites if id(site.order) in fresh)
        return sites


def _world(pool: PodPool, nodes: Sequence[str], *, on_nodes: bool) -> World:
    """Create the places outside the mesh.

    Args:
        pool: Creates the pods.
        nodes: The named nodes, which alone are sure to take our pods; one empty name for any node.
        on_nodes: Whether pods in the network of a node are permitted.
    """
    server, client = (pool.place(name, *nodes) for name in ("server", "client"))
    if not on_nodes:
        return World(server, client, dict.fromkeys(nodes, client))
    hosts = {
        node: pool.place(f"node-{number}", node, host_network=True)
        for number, node in enumerate(nodes, 1)
    }
    return World(server, client, hosts)


def _is_lost(site: PooledPod) -> bool:
    return site.link is not None and bool(site.link.lost)


def _is_ordinary(fate: Fate, site: PooledPod) -> bool:
    """Whether a flow must never loop, as a flow between the pod and another host (SPEC-4.2).

    For a flow from an application to its own pod, or from any client to a port of the sidecar, that
    is a SHOULD only (SPEC-4.5).
    """
    host, port = fate.flow.destination
    if fate.flow.direction is Direction.INBOUND:
        return port not in SIDECAR_PORTS
    return host not in site.addresses and not is_loopback(host)
