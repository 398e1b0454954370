"""The pods of a run: created in batches, awaited together, taken one by one."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.access import Access, Ephemeral, Relayed
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, ExecStream, Object
from pytest_fsmredir.backends.kubernetes.cluster.nodes import pinned
from pytest_fsmredir.backends.kubernetes.pods import manifests
from pytest_fsmredir.backends.kubernetes.pods.causes import breakage, refusal
from pytest_fsmredir.backends.kubernetes.pods.injectors import Injection
from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn, Images
from pytest_fsmredir.backends.kubernetes.pods.states import (
    PodProgress,
    PodStage,
    PodState,
    state_of,
)
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError, DeadlineError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.sidecars.recorder import HEALTH_UID

STUCK_S = 60.0
"""Seconds without any change in the awaited pods after which the wait fails.

A busy machine may be slow, but its pods still make progress.
"""

POD_READY_S = 600.0
"""Seconds that a batch may take in all, even while it makes progress."""

_NAMED = 5  # number of pods that a message names

LOOK_S = 0.4
"""Seconds between two looks at the pods; more if many are awaited."""

_FEW = 20

IDLE_S = 20.0
"""Seconds without progress in a batch before a pod of it can count as hung."""

_HANDS = 4  # concurrent requests


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
        traffic = _said(self.configuration.traffic)
        annotations = dict(self.configuration.annotations)
        parts = [annotations, traffic, self.iptables, self.bare, self.node]
        return json.dumps(parts, sort_keys=True)


@dataclass
class PooledPod:
    """A pod of the run.

    Attributes:
        name: Name of the Pod object.
        agents: Names of the agents in the pod.
        order: The order of the pod; None for a place outside the mesh.
        addresses: Addresses of the pod, IPv4 first.
        programming: Result of the init container.
        has_health: The pod has a health responder.
        stream: The exec stream to the agents, once it is being opened.
        link: The link to the agents, once it is open.
    """

    name: str
    agents: tuple[str, ...]
    order: Order | None = None
    addresses: tuple[str, ...] = ()
    programming: Programming = field(default_factory=lambda: Programming(accepted=True))
    has_health: bool = False
    stream: Future[ExecStream] | None = None
    link: AgentLink | None = None

    @property
    def ordered(self) -> Order:
        """The order of a pod of the mesh.

        Raises:
            ValueError: The pod is a place outside the mesh.
        """
        if self.order is None:
            raise ValueError(f"no test has ordered {self.name}")
        return self.order


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
        self._injection, self._init_timeout_s = injection, init_timeout_s
        self._acceptance_log, self._timeout_s = acceptance_log, timeout_s
        self._relayed = Relayed(cluster, namespace)
        self._ephemeral = Ephemeral(cluster, namespace, images.pod)
        self._spare: dict[str, deque[PooledPod]] = defaultdict(deque)
        self._numbers = count(1)
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="fsmredir-kube")
        self._sites: list[PooledPod] = []
        injection.begin(namespace)

    def place(self, name: str, *nodes: str, host_network: bool = False) -> PooledPod:
        """Create a pod outside the mesh, on one of the named nodes if any; do not wait for it."""
        site = PooledPod(name, (APP,))
        pod = manifests.place(name, self.images, host_network=host_network)
        self.create(pinned(pod, *nodes))
        self._sites.append(site)
        return site

    def join(self, pod: Object) -> PooledPod:
        """Attach an agent to an existing pod. The pod is not ours and is never deleted."""
        metadata, status = pod["metadata"], pod["status"]
        addresses = sorted((each["ip"] for each in status["podIPs"]), key=lambda each: ":" in each)
        site = PooledPod(metadata["name"], (APP,), addresses=tuple(addresses))
        access = Ephemeral(self.cluster, metadata["namespace"], self.images.pod)
        site.stream = self._hands.submit(access.open, site.name, site.agents)
        self._sites.append(site)
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
        self._sites += sites
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
        self.wait(sites)
        self._sites += sites
        return sites

    def keep_spare(self, sites: Iterable[PooledPod]) -> None:
        """Keep pods for :meth:`take`."""
        for site in sites:
            if site.order is not None:
                self._spare[site.order.key].append(site)

    def take(self, order: Order) -> PooledPod:
        """Return an unused pod: a spare one, or a new one."""
        if spare := self._spare[order.key]:
            return spare.popleft()
        made = self.make([order])
        self.wait(made)
        return made[0]

    def wait(self, sites: Sequence[PooledPod]) -> None:
        """Wait until pods are up, or refused by the implementation.

        Raises:
            BackendError: A pod cannot come up, and the implementation is not at fault.
            DeadlineError: Some pods are not up in time.
        """
        waiting = {site.name: site for site in sites if site.programming.accepted}
        states: dict[str, PodState] = {}
        progress = PodProgress()

        def look() -> bool:
            pods = [pod for pod in self._list() if pod["metadata"]["name"] in waiting]
            # Pods that start together slow each other down, so progress of one counts for all.
            progress.look([pod["status"] for pod in pods])
            patience_s = self._init_timeout_s if progress.idle_s > IDLE_S else float("inf")
            for pod in pods:
                name = pod["metadata"]["name"]
                states[name] = state_of(pod, patience_s)
                waiting[name].has_health = _has_health(pod)
                if self._settled(waiting[name], states[name]):
                    del waiting[name]
            return bool(waiting)

        overall = stop_after_delay(POD_READY_S)
        retrying = Retrying(
            stop=lambda state: overall(state) or progress.idle_s > STUCK_S,
            wait=lambda _: LOOK_S * (1 + len(waiting) // _FEW),
            retry=retry_if_result(bool),
        )
        try:
            retrying(look)
        except RetryError:
            waited_s = retrying.statistics["delay_since_first_attempt"]
            seen = [f"{name}: {states.get(name, 'not seen')}" for name in waiting]
            raise DeadlineError(
                f"{len(waiting)} of {len(sites)} pods are not up after {waited_s:.0f} s;"
                f" last seen: {'; '.join(seen[:_NAMED])}"
            ) from None

    def link(self, site: PooledPod) -> AgentLink:
        """Return the link to a pod's agents."""
        if site.link is None:
            if site.stream is None:
                site.stream = self._dial(site)
            site.link = AgentLink(site.name, site.stream.result(), site.agents)
            self._acceptance_log.enrol(site.link, self._timeout_s)
            if site.order is not None and not site.has_health:
                # FSM injects no health responder into a pod without probes. So the agent opens a
                # socket of a third user, which is neither the sidecar nor the application.
                site.link.ask(APP, "health", addresses=list(site.addresses), uid=HEALTH_UID)
        return site.link

    def remove(self, site: PooledPod) -> None:
        """Delete a pod; do not wait for its end."""
        if site.link is not None:
            site.link.close()
        self._hands.submit(self.cluster.delete, f"{self._pods}/{site.name}")

    def close(self) -> None:
        """Close the links to all agents, and restore the mesh."""
        self._hands.shutdown(cancel_futures=True)
        try:
            for site in self._sites:
                if site.link is not None:
                    site.link.close()
                elif site.stream is not None and _came(site.stream):
                    site.stream.result().close()
        finally:
            self._injection.end()

    def _settled(self, site: PooledPod, state: PodState) -> bool:
        if state.stage is PodStage.WAITING:
            return False
        if state.stage is PodStage.BROKEN:
            image = self.images.app
            raise BackendError(breakage(self.cluster, self.namespace, site.name, state, image))
        if state.stage is PodStage.REFUSED:
            reason = refusal(self.cluster, self.namespace, site.name, state)
            site.programming = Programming(accepted=False, reason=reason)
            return True
        site.addresses = state.addresses
        site.stream = self._dial(site)
        return True

    def _dial(self, site: PooledPod) -> Future[ExecStream]:
        in_mesh = site.order is not None
        added = in_mesh and self.images.agent_in is AgentIn.EPHEMERAL
        access: Access = self._ephemeral if added else self._relayed
        return self._hands.submit(access.open, site.name, site.agents)

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

    def _list(self) -> list[Object]:
        # resourceVersion 0 reads the API server's cache, which may be a little old.
        items: list[Object] = self.cluster.get(self._pods, resourceVersion="0")["items"]
        return items


def _has_health(pod: Object) -> bool:
    return any(each["name"] == "fsm-healthcheck" for each in pod["spec"]["containers"])


def _by_mesh_config(sites: Iterable[PooledPod]) -> list[list[PooledPod]]:
    """Group pods by the mesh-wide lists that they need."""
    groups: dict[str, list[PooledPod]] = defaultdict(list)
    for site in sites:
        wanted = _said(site.ordered.configuration.traffic)
        groups[json.dumps(wanted, sort_keys=True)].append(site)
    return list(groups.values())


def _said(traffic: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
    """Return the lists of a MeshConfig without empty ones, which mean the same as none."""
    return {key: list(values) for key, values in traffic.items() if values}


def _came(stream: Future[ExecStream]) -> bool:
    return not stream.cancelled() and stream.exception() is None
