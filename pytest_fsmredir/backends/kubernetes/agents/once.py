"""Run one program in an ephemeral container of a pod, and return what it printed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.access import (
    CONTAINER_READY_S,
    READING,
    Rights,
    add_container,
    container_state,
    ephemeral_container,
)
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.containers import hopeless
from pytest_fsmredir.errors import BackendError, DeadlineError, tail

_LOOK_S = 0.3


def run_once(cluster: Cluster, namespace: str, pod: str, image: str, argv: Sequence[str]) -> str:
    """Run a program as root with NET_ADMIN in the network of a pod, and return its output.

    The container ends with the program. It stays in the pod's list: Kubernetes cannot remove it.

    Raises:
        BackendError: The pod takes no such container, the container cannot start, or the program
            fails.
        DeadlineError: The program does not end in time.
        ApiError: The log cannot be read.
    """
    name = f"fsmredir-{secrets.token_hex(3)}"
    add_container(cluster, namespace, pod, ephemeral_container(name, image, argv, Rights(READING)))

    status = _status(cluster, namespace, pod, name)
    printed = cluster.log(namespace, pod, name, lines=None)
    if status != 0:
        raise BackendError(f"pod {pod}: {argv[0]} in {name} exited {status}: {tail(printed)}")
    return printed


def _status(cluster: Cluster, namespace: str, pod: str, name: str) -> int:
    """Wait until an ephemeral container has ended; return its exit status."""

    def ended() -> int | None:
        state = container_state(cluster, namespace, pod, name)
        if why := hopeless([{"name": name, "state": state}]):
            raise BackendError(f"pod {pod}: {why}")
        return int(state["terminated"]["exitCode"]) if "terminated" in state else None

    retrying = Retrying(
        stop=stop_after_delay(CONTAINER_READY_S),
        wait=wait_fixed(_LOOK_S),
        retry=retry_if_result(lambda status: status is None),
    )
    try:
        return retrying(ended) or 0
    except RetryError:
        raise DeadlineError(
            f"the container {name} of pod {pod} has not ended after {CONTAINER_READY_S:.0f} s"
        ) from None
