"""Wait until the pods of a run are up, or refused by the implementation."""

from __future__ import annotations

from collections.abc import Sequence

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.agent_links import AgentLinks
from pytest_fsmredir.backends.kubernetes.pods.causes import breakage, refusal
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.kubernetes.pods.states import (
    PodProgress,
    PodStage,
    PodState,
    state_of,
)
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError, DeadlineError

STUCK_S = 60.0
"""Seconds without any change in the awaited pods after which the wait fails.

A busy machine may be slow, but its pods still make progress.
"""

POD_READY_S = 600.0
"""Seconds that a batch may take in all, even while it makes progress."""

LOOK_S = 0.4
"""Seconds between two looks at the pods; more if many are awaited."""

IDLE_S = 20.0
"""Seconds without progress in a batch before a pod of it can count as hung."""

_FEW = 20
_NAMED = 5  # number of pods that a message names


class Watcher:
    """Waits for pods.

    Args:
        cluster: The cluster to use.
        namespace: Namespace of the run.
        images: The images of the containers.
        links: Opens the stream to the agents of each pod that is up.
        init_timeout_s: Seconds after which a running init container counts as hung.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        images: Images,
        links: AgentLinks,
        *,
        init_timeout_s: float,
    ) -> None:
        self._cluster, self._namespace, self._images = cluster, namespace, images
        self._links, self._init_timeout_s = links, init_timeout_s

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

    def _settled(self, site: PooledPod, state: PodState) -> bool:
        """Return whether a pod needs no further wait, and record its result."""
        where = (self._cluster, self._namespace, site.name, state)
        if state.stage is PodStage.WAITING:
            return False
        if state.stage is PodStage.BROKEN:
            raise BackendError(breakage(*where, self._images.app))
        if state.stage is PodStage.REFUSED:
            site.programming = Programming(accepted=False, reason=refusal(*where))
            return True
        site.addresses = state.addresses
        self._links.dial(site)
        return True

    def _list(self) -> list[Object]:
        # resourceVersion 0 reads the API server's cache, which may be a little old.
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        items: list[Object] = self._cluster.get(path, resourceVersion="0")["items"]
        return items


def _has_health(pod: Object) -> bool:
    return any(each["name"] == "fsm-healthcheck" for each in pod["spec"]["containers"])
