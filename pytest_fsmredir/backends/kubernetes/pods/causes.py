"""Explain why a pod is not up, with the end of its container's log."""

from __future__ import annotations

from pytest_fsmredir.backends.kubernetes.agents.manifests import AGENT_CONTAINER
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.pods.injection import INIT_NAME
from pytest_fsmredir.backends.kubernetes.pods.states import PodState
from pytest_fsmredir.errors import tail


def refusal(cluster: Cluster, namespace: str, name: str, state: PodState) -> str:
    """Return how the init container of a pod ended, with the end of its log."""
    return f"the init container {state.reason}: {_log(cluster, namespace, name, INIT_NAME)}"


def breakage(cluster: Cluster, namespace: str, name: str, state: PodState, app_image: str) -> str:
    """Return why a pod of a run cannot come up.

    Args:
        cluster: The cluster of the pod.
        namespace: Namespace of the pod.
        name: Name of the pod.
        state: State of the pod.
        app_image: The application image that the user named; empty if none was named.
    """
    what = f"pod {name} cannot come up: {state}"
    if not state.ended:
        return what
    log = _log(cluster, namespace, name, state.ended[0])
    if app_image and AGENT_CONTAINER in state.ended:
        return (
            f"the command of the application image {app_image} ends at once ({what}); give"
            f" --fsm-app-image an image whose own command runs on; the end of its log: {log}"
        )
    return f"{what}; the end of its log: {log}"


def _log(cluster: Cluster, namespace: str, name: str, container: str) -> str:
    try:
        return tail(cluster.log(namespace, name, container))
    except ApiError as error:
        return f"(its log cannot be read: {error})"
