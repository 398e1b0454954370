"""Run one program in an ephemeral container of a pod, and return what it printed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.access import (
    CONTAINER_READY_S,
    add_container,
    container_state,
    ephemeral_container,
)
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.containers import hopeless
from pytest_fsmredir.errors import BackendError, DeadlineError

READING = ("NET_ADMIN", "NET_RAW")
"""Capabilities to list rules: iptables-legacy-save opens a raw socket, the others ask netlink."""

_LOOK_S = 0.3


def run_once(cluster: Cluster, namespace: str, pod: str, image: str, argv: Sequence[str]) -> str:
    """Run a program as root with NET_ADMIN in the network of a pod, and return its output.

    The container ends with the program. It stays in the pod's list: Kubernetes cannot remove it.

    Raises:
        BackendError: The pod takes no such container, or the container cannot start.
        DeadlineError: The program does not end in time.
        ApiError: The log cannot be read.
    """
    name = f"fsmredir-{secrets.token_hex(3)}"
    add_container(cluster, namespace, pod, ephemeral_container(name, image, argv, READING))

    def ended() -> bool:
        state = container_state(cluster, namespace, pod, name)
        if why := hopeless([{"name": name, "state": state}]):
            raise BackendError(f"pod {pod}: {why}")
        return "terminated" in state

    try:
        Retrying(
            stop=stop_after_delay(CONTAINER_READY_S),
            wait=wait_fixed(_LOOK_S),
            retry=retry_if_result(lambda done: not done),
        )(ended)
    except RetryError:
        raise DeadlineError(
            f"the container {name} of pod {pod} has not ended after {CONTAINER_READY_S:.0f} s"
        ) from None
    return cluster.log(namespace, pod, name, lines=None)
