"""What Kubernetes knows about a pod: its object without secrets, and its init container's log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.injection import INIT_NAME
from pytest_fsmredir.backends.transcripts import is_shown
from pytest_fsmredir.errors import BackendError

_LEFT_OUT: Final = "(left out)"
_OF_HOSTS: Final = frozenset(
    {"nodeName", "hostname", "hostIP", "hostIPs", "nodeSelector", "affinity", "imagePullSecrets"}
)
_OF_THE_SERVER: Final = frozenset({"managedFields", "ownerReferences"})
_OURS: Final = ("flomesh.io/", "fsmredir/")


def pod_object(cluster: Cluster, namespace: str, name: str) -> Object:
    """Return a pod as the API server has it."""
    return cluster.get(f"/api/v1/namespaces/{namespace}/pods/{name}")


def pod_yaml(pod: Mapping[str, Any]) -> str:
    """Return a pod as YAML without values that can be secrets, and without names of hosts."""
    metadata = {
        name: value for name, value in pod["metadata"].items() if name not in _OF_THE_SERVER
    }
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {
        name: text if name.startswith(_OURS) else _LEFT_OUT for name, text in annotations.items()
    }
    text: str = yaml.safe_dump(_bare({**pod, "metadata": metadata}), sort_keys=False, width=100)
    return text


def init_record(cluster: Cluster, namespace: str, pod: Mapping[str, Any]) -> str:
    """Return the exit status and the log of a pod's init container.

    Raises:
        BackendError: It has no such container, or the log cannot be read.
    """
    statuses = pod.get("status", {}).get("initContainerStatuses", [])
    own = next((each for each in statuses if each["name"] == INIT_NAME), None)
    if own is None:
        raise BackendError(f"the pod has no init container {INIT_NAME}")
    ended = own.get("state", {}).get("terminated") or own.get("lastState", {}).get("terminated")
    status = "it has not ended" if ended is None else f"exit status: {ended['exitCode']}"
    log = cluster.log(namespace, pod["metadata"]["name"], INIT_NAME, lines=None)
    return f"# init container {INIT_NAME}; {status}\n{log}"


def _bare(value: object) -> object:
    """Return a value of an object without what can be a secret or names a host."""
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if "name" in value and isinstance(value.get("value"), str) and not is_shown(value["name"]):
        return {**value, "value": _LEFT_OUT}
    return {name: _bare(each) for name, each in value.items() if name not in _OF_HOSTS}
