"""The pods of a run: created in batches, kept, taken one by one."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.access import Ephemeral
from pytest_fsmredir.backends.kubernetes.agents.guest import Guest, join
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.cluster.nodes import pinned
from pytest_fsmredir.backends.kubernetes.pods import manifests
from pytest_fsmredir.backends.kubernetes.pods.agent_links import (
    AgentLinks,
    close_links,
    close_stream,
    end_guest,
)
from pytest_fsmredir.backends.kubernetes.pods.injectors import Injection
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.watcher import Watcher
from pytest_fsmredir.backends.places import APP_UID
from pytest_fsmredir.backends.programming import Programming

_HANDS = 4  # concurrent requests


class PodPool:
    """Makes pods in the namespace of a run.

    Args:
        cluster: The cluster to use.
        namespace: Namespace of the run.
        images: The images of the containers.
        injection: Puts the sidecar and the init container into pods of the mesh.
        init_timeout_s: Seconds after which a running init container counts as hung.
        acceptance_log: The log that numbers the agents and collects what they accept.
        timeout_s: Seconds that a flow may take.

    Attributes:
        cluster: The cluster to use.
        namespace: Namespace of the run.
        images: The images of the containers.
        links: The links to the agents in the pods.
        watcher: Waits for pods.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        images: Images,
        injection: Injection,
        *,
        init_timeout_s: float,
        acceptance_log: AcceptanceLog,
        timeout_s: float,
    ) -> None:
        self.cluster, self.namespace, self.images = cluster, namespace, images
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._injection = injection
        self._spare: dict[str, deque[PooledPod]] = defaultdict(deque)
        self._numbers = count(1)
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="fsmredir-kube")
        self.links = AgentLinks(
            cluster, namespace, images, acceptance_log, timeout_s=timeout_s, hands=self._hands
        )
        self.watcher = Watcher(
            cluster, namespace, images, self.links, init_timeout_s=init_timeout_s
        )
        self._sites: dict[int, PooledPod] = {}  # by identity: a pod changes
        injection.begin(namespace)

    def place(self, name: str, *nodes: str, host_network: bool = False) -> PooledPod:
        """Create a pod outside the mesh, on one of the named nodes if any; do not wait for it."""
        site = PooledPod(name, (APP,))
        pod = manifests.place(name, self.images, host_network=host_network)
        self.create(pinned(pod, *nodes))
        self._file([site])
        return site

    def join(self, pod: Object) -> PooledPod:
        """Attach an agent to an existing pod. The pod is not ours and is never deleted."""
        metadata, status = pod["metadata"], pod["status"]
        addresses = sorted((each["ip"] for each in status["podIPs"]), key=lambda each: ":" in each)
        site = PooledPod(metadata["name"], (APP,), addresses=tuple(addresses))
        self.links.dial(site, Ephemeral(self.cluster, metadata["namespace"], self.images.pod))
        self._file([site])
        return site

    def make(self, orders: Iterable[Order]) -> list[PooledPod]:
        """Create one pod for each order; do not wait for them.

        Raises:
            BackendError: The cluster or its mesh cannot create a pod.
        """
        agents = self._injection.agents
        sites = [PooledPod(self.name("pod"), agents, order) for order in orders]
        for batch in _by_mesh_config(sites):
            if refusal := self._injection.configure(batch[0].ordered.configuration.traffic):
                for site in batch:
                    site.programming = Programming(accepted=False, reason=refusal)
            else:
                errors = list(self._hands.map(self._inject, batch))
                # One at a time: the reason of a refusal may have to be read from a log.
                for site, error in zip(batch, errors, strict=True):
                    if error is not None:
                        self._refuse(site, error)
        self._injection.check()
        self.watcher.expect(sites)
        self._file(sites)
        return sites

    def name(self, prefix: str) -> str:
        """Return a name that no other object of the run has."""
        return f"{prefix}-{next(self._numbers)}"

    def plain_pod(self, name: str, order: Order) -> Object:
        """Return a pod as its user writes it, before injection."""
        return pinned(manifests.plain_pod(name, order.configuration, self.images), order.node)

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the pod to create for a plain pod."""
        return self._injection.injected(pod, order)

    def create(self, pod: Object) -> Object:
        """Create a pod, and return it as the API server admitted it.

        Raises:
            ApiError: The pod was refused.
        """
        return self.cluster.create(self._pods, pod)

    def configure(self, traffic: Mapping[str, Sequence[object]]) -> str:
        """Set the mesh's lists for the pods that are made next.

        Returns:
            Why the mesh refused them; empty when they are in force.
        """
        return self._injection.configure(traffic)

    @property
    def installed(self) -> Mapping[str, Sequence[object]]:
        """The lists in the MeshConfig of the installed mesh, without empty ones."""
        return self._injection.installed

    @property
    def remarks(self) -> Sequence[str]:
        """Notes on the mesh that belong next to the verdict."""
        return self._injection.remarks

    def adopt(
        self, names: Sequence[str], order: Order, *, agents: tuple[str, ...] | None = None
    ) -> list[PooledPod]:
        """Wait for pods that were not made by :meth:`make`, and add them to the pool.

        Args:
            names: Names of the pods.
            order: The order that describes them.
            agents: Names of the agents in them; None for those of every pod of the mesh.

        Raises:
            BackendError: A pod cannot come up.
        """
        sites = [PooledPod(name, agents or self._injection.agents, order) for name in names]
        self.watcher.wait(sites)
        self._file(sites)
        return sites

    def keep_spare(self, sites: Iterable[PooledPod]) -> None:
        """Keep pods for :meth:`take`."""
        for site in sites:
            if site.order is not None:
                self._spare[site.order.key].append(site)

    def take(self, order: Order) -> PooledPod:
        """Return an unused pod, a spare one or a new one; do not wait for it."""
        spare = self._spare[order.key]
        return spare.popleft() if spare else self.make([order])[0]

    def guest(self, site: PooledPod) -> Guest:
        """Return our container for evidence in a pod; it is added once, with the first failure.

        Raises:
            BackendError: The pod takes no such container, or the container cannot start.
        """
        if site.guest is None:
            image = self.images.pod
            site.guest = self._hands.submit(
                join, self.cluster, self.namespace, site.name, image, APP_UID
            )
        return site.guest.result()

    def remove(self, site: PooledPod) -> None:
        """Delete a pod; do not wait for its end."""
        end_guest(site)
        self.watcher.forget(site)
        self._sites.pop(id(site), None)
        if site.link is not None:
            site.link.close()
        self._hands.submit(self.cluster.delete, f"{self._pods}/{site.name}")

    def discard(self, site: PooledPod) -> None:
        """Delete a pod that is not needed any more, used or not; do not wait for its end."""
        if site.order is not None and site in (spare := self._spare[site.order.key]):
            spare.remove(site)
        if site.link is None and site.stream is not None:
            site.stream.add_done_callback(close_stream)
        self.remove(site)

    def close(self) -> None:
        """Close the links to all agents, and restore the mesh."""
        self._hands.shutdown(cancel_futures=True)
        try:
            close_links(self._sites.values())
        finally:
            self._injection.end()

    def _file(self, sites: Iterable[PooledPod]) -> None:
        self._sites |= {id(site): site for site in sites}

    def _inject(self, site: PooledPod) -> ApiError | None:
        """Create a pod of the mesh, and return the error if it was refused."""
        pod = self.injected(self.plain_pod(site.name, site.ordered), site.ordered)
        try:
            self._injection.made(pod, self.create(pod))
        except ApiError as error:
            return error
        return None

    def _refuse(self, site: PooledPod, error: ApiError) -> None:
        pod = self.injected(self.plain_pod(site.name, site.ordered), site.ordered)
        reason = self._injection.refusal(error, self._pods, pod)
        if reason is None:
            raise error
        site.programming = Programming(accepted=False, reason=reason)


def _by_mesh_config(sites: Iterable[PooledPod]) -> list[list[PooledPod]]:
    """Group pods by the mesh-wide lists that they need."""
    groups: dict[str, list[PooledPod]] = defaultdict(list)
    for site in sites:
        groups[json.dumps(site.ordered.mesh_lists, sort_keys=True)].append(site)
    return list(groups.values())
