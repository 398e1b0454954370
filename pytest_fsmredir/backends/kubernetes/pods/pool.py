"""The pods of a run: made all at once, awaited once, taken one by one."""

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
"""How long nothing may have happened to any of the pods that are waited for.

A machine with other work to do may be slow, but it gets on.
"""

POD_READY_S = 600.0
"""How long a batch may take however steadily it gets on."""

_NAMED = 5  # pods that a message names

LOOK_S = 0.4
"""How often the pods are looked at meanwhile; less often while they are many."""

_FEW = 20

IDLE_S = 20.0
"""How long no pod of a batch has got on before one of them can count as hung."""

_HANDS = 4  # requests under way at once


@dataclass(frozen=True, slots=True)
class Order:
    """A pod that is wanted.

    Attributes:
        configuration: Its settings.
        iptables: The variant its init container is to use.
        bare: Leave the init container out: nobody programs the pod.
        node: Name of the node that it is to be on; empty for any.
    """

    configuration: Configuration
    iptables: IptablesVariant
    bare: bool = False
    node: str = ""

    @property
    def key(self) -> str:
        """The same for equal orders."""
        traffic = _said(self.configuration.traffic)
        annotations = dict(self.configuration.annotations)
        parts = [annotations, traffic, self.iptables, self.bare, self.node]
        return json.dumps(parts, sort_keys=True)


@dataclass
class PooledPod:
    """A pod of the run.

    Attributes:
        name: As the cluster knows it.
        agents: The agents in it.
        order: What was ordered; None for a place outside the mesh.
        addresses: Its addresses, IPv4 first.
        programming: How its init container ended.
        has_health: There is a health responder in it.
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
        """Its order, which every pod of the mesh has.

        Raises:
            ValueError: It is a place outside the mesh.
        """
        if self.order is None:
            raise ValueError(f"no test has ordered {self.name}")
        return self.order


class PodPool:
    """Makes pods in the namespace of a run.

    Args:
        cluster: Where.
        namespace: The run's.
        images: Where containers come from.
        injection: How pods of the mesh come by their redirection.
        init_timeout_s: When an init container counts as hung.
        ledger: Where agents are enrolled.
        timeout_s: How long a flow may take.

    Attributes:
        cluster: Where.
        namespace: The run's.
        images: Where containers come from.
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
        """Make a pod outside the mesh, on one of some nodes if any is named; it is not awaited."""
        site = PooledPod(name, (APP,))
        pod = manifests.place(name, self.images, host_network=host_network)
        self.create(pinned(pod, *nodes))
        self._sites.append(site)
        return site

    def join(self, pod: Object) -> PooledPod:
        """Send an agent into a pod that runs and that somebody else has made; it stays his."""
        metadata, status = pod["metadata"], pod["status"]
        addresses = sorted((each["ip"] for each in status["podIPs"]), key=lambda each: ":" in each)
        site = PooledPod(metadata["name"], (APP,), addresses=tuple(addresses))
        access = Ephemeral(self.cluster, metadata["namespace"], self.images.pod)
        site.stream = self._hands.submit(access.open, site.name, site.agents)
        self._sites.append(site)
        return site

    def make(self, orders: Iterable[Order]) -> list[PooledPod]:
        """Make a pod an order; they are not awaited.

        Raises:
            BackendError: The cluster, or its mesh, does not do its part.
        """
        agents = self._injection.agents
        sites = [PooledPod(self.name("pod"), agents, order) for order in orders]
        for batch in _by_mesh_config(sites):
            if refusal := self._injection.configure(batch[0].ordered.configuration.traffic):
                for site in batch:
                    site.programming = Programming(accepted=False, reason=refusal)
            else:
                errors = list(self._hands.map(self._inject, batch))
                # One by one, since the reason of a refusal may have to be asked for.
                for site, error in zip(batch, errors, strict=True):
                    if error is not None:
                        self._refuse(site, error)
        self._injection.check()
        self._sites += sites
        return sites

    def name(self, prefix: str) -> str:
        """Return a name that nothing of the run has."""
        return f"{prefix}-{next(self._numbers)}"

    def plain_pod(self, name: str, order: Order) -> Object:
        """Return a pod as its user writes it."""
        return pinned(manifests.plain_pod(name, order.configuration, self.images), order.node)

    def injected(self, pod: Object, order: Order) -> Object:
        """Return a pod as it is to be made."""
        return self._injection.injected(pod, order)

    def create(self, pod: Object) -> Object:
        """Make a pod, and return it as it was admitted.

        Raises:
            ApiError: It was refused.
        """
        return self.cluster.create(self._pods, pod)

    def configure(self, traffic: Mapping[str, Sequence[object]]) -> str:
        """Have the mesh's lists be these for the pods that are made next.

        Returns:
            Why the mesh refused them; empty when they are in force.
        """
        return self._injection.configure(traffic)

    @property
    def installed(self) -> Mapping[str, Sequence[object]]:
        """The lists that the cluster's mesh is configured with, empty ones left out."""
        return self._injection.installed

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the verdict should know about the mesh."""
        return self._injection.remarks

    def adopt(
        self, names: Sequence[str], order: Order, *, agents: tuple[str, ...] | None = None
    ) -> list[PooledPod]:
        """Wait for pods that were made otherwise, and have them as our own.

        Args:
            names: Theirs.
            order: What they are.
            agents: The agents in them; those of every pod of the mesh by default.

        Raises:
            BackendError: One cannot come up.
        """
        sites = [PooledPod(name, agents or self._injection.agents, order) for name in names]
        self.wait(sites)
        self._sites += sites
        return sites

    def keep_spare(self, sites: Iterable[PooledPod]) -> None:
        """Have pods ready for :meth:`take`."""
        for site in sites:
            if site.order is not None:
                self._spare[site.order.key].append(site)

    def take(self, order: Order) -> PooledPod:
        """Return a pod that nobody has: a spare one, or one made now."""
        if spare := self._spare[order.key]:
            return spare.popleft()
        made = self.make([order])
        self.wait(made)
        return made[0]

    def wait(self, sites: Sequence[PooledPod]) -> None:
        """Wait until pods are up, or refused by the implementation.

        Raises:
            BackendError: One cannot come up, for no fault of the implementation.
            DeadlineError: Some are not up in time.
        """
        waiting = {site.name: site for site in sites if site.programming.accepted}
        states: dict[str, PodState] = {}
        progress = PodProgress()

        def look() -> bool:
            pods = [pod for pod in self._list() if pod["metadata"]["name"] in waiting]
            # Pods that start together slow each other down: none is hung while others get on.
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
        """Return the line to a pod's agents."""
        if site.link is None:
            if site.stream is None:
                site.stream = self._dial(site)
            site.link = AgentLink(site.name, site.stream.result(), site.agents)
            self._acceptance_log.enrol(site.link, self._timeout_s)
            if site.order is not None and not site.has_health:
                # A pod without probes has no health responder (FSM puts none in), so the check's
                # is a socket of another user than the sidecar's and the application's.
                site.link.ask(APP, "health", addresses=list(site.addresses), uid=HEALTH_UID)
        return site.link

    def remove(self, site: PooledPod) -> None:
        """Delete a pod; nobody waits for its end."""
        if site.link is not None:
            site.link.close()
        self._hands.submit(self.cluster.delete, f"{self._pods}/{site.name}")

    def close(self) -> None:
        """Hang up everywhere, and leave the mesh as it was."""
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
        """Make a pod of the mesh, or return why there is none."""
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
        # From the API server's memory; what it misses is seen at the next look.
        items: list[Object] = self.cluster.get(self._pods, resourceVersion="0")["items"]
        return items


def _has_health(pod: Object) -> bool:
    return any(each["name"] == "fsm-healthcheck" for each in pod["spec"]["containers"])


def _by_mesh_config(sites: Iterable[PooledPod]) -> list[list[PooledPod]]:
    """Return the pods in groups that want the same lists of the mesh."""
    groups: dict[str, list[PooledPod]] = defaultdict(list)
    for site in sites:
        wanted = _said(site.ordered.configuration.traffic)
        groups[json.dumps(wanted, sort_keys=True)].append(site)
    return list(groups.values())


def _said(traffic: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
    """Return what a MeshConfig says in its lists; an empty one says nothing."""
    return {key: list(values) for key, values in traffic.items() if values}


def _came(stream: Future[ExecStream]) -> bool:
    return not stream.cancelled() and stream.exception() is None
