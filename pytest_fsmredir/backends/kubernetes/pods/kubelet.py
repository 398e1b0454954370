"""Probed applications, and whether the kubelet's probes of each pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.applications import PROBED
from pytest_fsmredir.backends.workloads import Probe, ProbeBy
from pytest_fsmredir.errors import DeadlineError

PROBED_S = 45.0
"""Seconds until a probe of a live application passes; the kubelet probes every second."""

ENOUGH = 5
"""Number of failures, or of answers to a liveness probe, after which the result counts.

The kubelet probes every second, and a probe that passes wrongly passes at once.
"""

_LOOK_S = 0.5

_SAYS = {
    Probe.LIVENESS: "Liveness probe failed",
    Probe.READINESS: "Readiness probe failed",
    Probe.STARTUP: "Startup probe failed",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One probed application.

    Attributes:
        probes: The kinds of its probes.
        by: The protocol of its probes.
        alive: The application answers.
    """

    probes: frozenset[Probe]
    by: ProbeBy
    alive: bool


_DEAD = (frozenset({Probe.LIVENESS, Probe.READINESS}), frozenset({Probe.STARTUP}))
CASES = (
    Case(frozenset(Probe), ProbeBy.HTTP, alive=True),
    # The kubelet runs no other probe until the startup probe has passed.
    *(Case(probes, ProbeBy.HTTP, alive=False) for probes in _DEAD),
    *(
        Case(frozenset({Probe.READINESS}), by, alive=alive)
        for by in (ProbeBy.HTTPS, ProbeBy.TCP)
        for alive in (True, False)
    ),
)


def case_of(probe: Probe, by: ProbeBy, *, alive: bool) -> Case:
    """Return the application that shows the result of a probe.

    Raises:
        ValueError: No application has such a probe.
    """
    for case in CASES:
        if probe in case.probes and (case.by, case.alive) == (by, alive):
            return case
    raise ValueError(f"no application is probed so: {probe} by {by}")


class Kubelet:
    """The kubelet's view of one pod.

    Args:
        cluster: The cluster of the pod.
        namespace: Namespace of the pod.
        name: Name of the pod.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    def verdict(self, probe: Probe, *, alive: bool) -> tuple[bool, str]:
        """Wait for a result, and return whether the probe passes, and why.

        The number of failures is exact for the first half minute only: the kubelet reports at most
        25 events in a burst about one pod (EventSourceObjectSpamFilter, client-go).

        Args:
            probe: The kind of probe.
            alive: The application answers, so the probe should pass.

        Raises:
            DeadlineError: There is no result in time.
        """

        def look() -> str:
            passes = self._passes(probe)
            failed = not alive and self._failures(probe)[0] >= ENOUGH
            return passes or ("failed" if failed else "")

        retrying = Retrying(
            stop=stop_after_delay(PROBED_S),
            wait=wait_fixed(_LOOK_S),
            retry=retry_if_result(lambda seen: not seen),
            retry_error_callback=lambda _: "",
        )
        seen: str = retrying(look)
        failures, said = self._failures(probe)
        if seen not in ("", "failed"):
            return True, seen
        if failures >= ENOUGH:
            return False, said
        raise DeadlineError(
            f"waited {PROBED_S:.0f} s for the kubelet to judge the {probe} of {self._name};"
            f" last said: {said or 'nothing'}"
        )

    def _passes(self, probe: Probe) -> str:
        """Return the evidence that the probe passes; empty if there is none yet."""
        pod = self._cluster.get(f"/api/v1/namespaces/{self._namespace}/pods/{self._name}")
        status: Object = next(
            (each for each in pod["status"].get("containerStatuses", ()) if each["name"] == PROBED),
            {},
        )
        if probe is Probe.READINESS:
            return "the container is ready" if status.get("ready") else ""
        if probe is Probe.STARTUP:
            return "the container has started" if status.get("started") else ""
        # The kubelet reports only failures of a liveness probe, so count the requests in the
        # application's log.
        log = self._cluster.log(self._namespace, self._name, PROBED).splitlines()
        asked = sum(line.startswith("200 ") for line in log)
        alone = asked >= ENOUGH and not status.get("restartCount")
        return f"the application was asked {asked} times" if alone else ""

    def _failures(self, probe: Probe) -> tuple[int, str]:
        """Return how often the probe has failed, and the message of its last failure.

        A failed startup probe counts too, because the kubelet runs no other probe before it passes.
        """
        says = (_SAYS[probe], _SAYS[Probe.STARTUP])
        events: Iterable[Object] = self._cluster.get(
            f"/api/v1/namespaces/{self._namespace}/events",
            fieldSelector=f"involvedObject.name={self._name},reason=Unhealthy",
        )["items"]
        own = [each for each in events if str(each.get("message", "")).startswith(says)]
        return sum(each.get("count") or 1 for each in own), own[-1]["message"] if own else ""
