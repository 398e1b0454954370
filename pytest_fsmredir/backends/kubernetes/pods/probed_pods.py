"""The pods with probed applications; made once for a run, and shared by several checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.pods.applications import probed_container
from pytest_fsmredir.backends.kubernetes.pods.kubelet import Case
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.errors import FsmRedirError


@dataclass(frozen=True, slots=True)
class ProbedPod:
    """A pod with a probed application.

    Attributes:
        order: The order of the pod.
        case: How the kubelet probes its application.
    """

    order: Order
    case: Case

    @property
    def key(self) -> tuple[str, Case]:
        """A key that is the same for equal probed pods."""
        return self.order.key, self.case


class ProbedPods:
    """Makes each probed application once.

    Args:
        pool: Makes the pods.
    """

    def __init__(self, pool: PodPool) -> None:
        self._pool = pool
        self._names: dict[tuple[str, Case], str | FsmRedirError] = {}
        self._sites: dict[tuple[str, Case], PooledPod] = {}

    def make(self, probed_pods: Iterable[ProbedPod]) -> None:
        """Create missing pods with the lists in force; do not wait for them.

        An error is kept, and raised only for checks that ask for the pod.
        """
        for probed_pod in probed_pods:
            if probed_pod.key not in self._names:
                self._names[probed_pod.key] = self._made(probed_pod)

    def site(self, probed_pod: ProbedPod) -> PooledPod:
        """Return a running pod; create it if it does not exist.

        Raises:
            FsmRedirError: The pod could not be created, or cannot come up.
        """
        self.make([probed_pod])
        name = self._names[probed_pod.key]
        if isinstance(name, FsmRedirError):
            raise name
        if probed_pod.key not in self._sites:
            (self._sites[probed_pod.key],) = self._pool.adopt([name], probed_pod.order)
        return self._sites[probed_pod.key]

    def _made(self, probed_pod: ProbedPod) -> str | FsmRedirError:
        pool, case = self._pool, probed_pod.case
        name = pool.name("probed")
        pod = pool.plain_pod(name, probed_pod.order)
        try:
            probed = probed_container(pool.images.pod, case.probes, case.by, alive=case.alive)
            pod["spec"]["containers"].append(probed)
            pool.create(pool.injected(pod, probed_pod.order))
        except FsmRedirError as error:
            return error
        return name
