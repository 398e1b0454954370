"""The probed applications of a run: made with its other pods, and asked about by several checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.pods.applications import probed_container
from pytest_fsmredir.backends.kubernetes.pods.kubelet import Case
from pytest_fsmredir.backends.kubernetes.pods.pool import Order, PodPool, PooledPod
from pytest_fsmredir.errors import FsmRedirError


@dataclass(frozen=True, slots=True)
class ProbedPod:
    """A pod with a probed application.

    Attributes:
        order: What else it is.
        case: How its application is probed.
    """

    order: Order
    case: Case

    @property
    def key(self) -> tuple[str, Case]:
        """The same for equal exhibits."""
        return self.order.key, self.case


class ProbedPods:
    """Makes each probed application once.

    Args:
        fleet: Makes pods.
    """

    def __init__(self, pool: PodPool) -> None:
        self._pool = pool
        self._names: dict[tuple[str, Case], str | FsmRedirError] = {}
        self._sites: dict[tuple[str, Case], PooledPod] = {}

    def make(self, exhibits: Iterable[ProbedPod]) -> None:
        """Make pods that there are not yet, under the lists in force; they are not awaited.

        What goes wrong is told to the checks that ask for the pod, not to all the others.
        """
        for probed_pod in exhibits:
            if probed_pod.key not in self._names:
                self._names[probed_pod.key] = self._made(probed_pod)

    def site(self, probed_pod: ProbedPod) -> PooledPod:
        """Return a pod that is up, and made now if there was none.

        Raises:
            FsmRedirError: It could not be made, or cannot come up.
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
