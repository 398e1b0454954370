"""Wait until the pods of a run are up, or refused by the implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
from pytest_fsmredir.text import counted

STUCK_S = 60.0
"""Seconds without any change in the awaited pods after which the wait fails.

A busy machine may be slow, but its pods still make progress.
"""

POD_READY_S = 600.0
"""Seconds that a batch may take in all, even while it makes progress."""

LOOK_S = 0.4
"""Seconds between two looks at the pods; more if many are expected."""

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
        self._expected: dict[str, PooledPod] = {}

    def expect(self, sites: Iterable[PooledPod]) -> None:
        """Look after pods in every later wait, until they are settled."""
        self._expected |= {site.name: site for site in sites if not site.is_settled}

    def forget(self, site: PooledPod) -> None:
        """Look after a pod no longer."""
        self._expected.pop(site.name, None)

    def wait(self, sites: Sequence[PooledPod]) -> None:
        """Wait until some pods are up, or refused by the implementation.

        Raises:
            BackendError: A pod cannot come up, and the implementation is not at fault.
            DeadlineError: A pod is not up in time.
        """
        self.expect(sites)
        states: dict[str, PodState] = {}
        progress = PodProgress()

        def look() -> bool:
            if all(site.is_settled for site in sites):
                return False
            pods = [pod for pod in self._list() if pod["metadata"]["name"] in self._expected]
            # Pods that start together slow each other down, so progress of one counts for all.
            progress.look([pod["status"] for pod in pods])
            patience_s = self._init_timeout_s if progress.idle_s > IDLE_S else float("inf")
            for pod in pods:
                site = self._expected[pod["metadata"]["name"]]
                states[site.name] = state_of(pod, patience_s)
                site.has_health = _has_health(pod)
                self._settle(site, states[site.name])
            self._expected = {k: v for k, v in self._expected.items() if not v.is_settled}
            return not all(site.is_settled for site in sites)

        overall = stop_after_delay(POD_READY_S)
        retrying = Retrying(
            stop=lambda state: overall(state) or progress.idle_s > STUCK_S,
            wait=lambda _: LOOK_S * (1 + len(self._expected) // _FEW),
            retry=retry_if_result(bool),
        )
        try:
            retrying(look)
        except RetryError:
            waited_s = retrying.statistics["delay_since_first_attempt"]
            self._give_up(states, waited_s)
        for site in sites:
            if site.trouble is not None:
                raise site.trouble

    def _give_up(self, states: Mapping[str, PodState], waited_s: float) -> None:
        """Settle all expected pods as not up in time: a later wait for one fails at once."""
        seen = [f"{name}: {states.get(name, 'not seen')}" for name in self._expected]
        error = DeadlineError(
            f"{counted(len(seen), 'pod')} not up after {waited_s:.0f} s;"
            f" last seen: {'; '.join(seen[:_NAMED])}"
        )
        for site in self._expected.values():
            site.trouble = error
        self._expected.clear()

    def _settle(self, site: PooledPod, state: PodState) -> None:
        """Record the result of a pod, if it has one."""
        where = (self._cluster, self._namespace, site.name, state)
        if state.stage is PodStage.BROKEN:
            site.trouble = BackendError(breakage(*where, self._images.app))
        elif state.stage is PodStage.REFUSED:
            site.programming = Programming(accepted=False, reason=refusal(*where))
        elif state.stage is PodStage.UP:
            site.addresses = state.addresses
            self._links.dial(site)

    def _list(self) -> list[Object]:
        # resourceVersion 0 reads the API server's cache, which may be a little old.
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        items: list[Object] = self._cluster.get(path, resourceVersion="0")["items"]
        return items


def _has_health(pod: Object) -> bool:
    return any(each["name"] == "fsm-healthcheck" for each in pod["spec"]["containers"])
