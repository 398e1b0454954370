"""List the nodes of a cluster, tell whether they take pods, and pin pods to nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fsmredir.errors import BackendError, PreflightError

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object

_NODES = "/api/v1/nodes"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a cluster.

    Attributes:
        name: Name of the Node object.
        linux: The node runs Linux, so it can be judged.
        trouble: Why no pod can run on it; empty if pods can.
    """

    name: str
    linux: bool = True
    trouble: str = ""


def nodes_of(cluster: Cluster) -> tuple[Node, ...]:
    """Return the nodes of a cluster.

    Raises:
        PreflightError: The nodes cannot be listed.
    """
    try:
        items = cluster.get(_NODES)["items"]
    except BackendError as error:
        raise PreflightError(
            f"the cluster's nodes cannot be listed: {error}; see: kubectl auth can-i list nodes"
        ) from None
    return tuple(node_of(item) for item in items)


def require_nodes(cluster: Cluster, names: Sequence[str]) -> None:
    """Check that a cluster has the nodes of these names.

    Raises:
        BackendError: A node is missing: it was removed meanwhile, or this is not the cluster whose
            nodes were listed before.
    """
    there = {node.name for node in nodes_of(cluster)} if names else set()
    if missing := [name for name in names if name not in there]:
        raise BackendError(
            f"the cluster has no node {', '.join(missing)} any more; there are:"
            f" {', '.join(sorted(there))}"
        )


def node_of(document: Mapping[str, Any]) -> Node:
    """Return the node that a Node object of the API describes."""
    metadata, status = document["metadata"], document.get("status", {})
    system = status.get("nodeInfo", {}).get("operatingSystem", "linux")
    system = (metadata.get("labels") or {}).get("kubernetes.io/os", system)
    return Node(metadata["name"], system == "linux", _trouble(status))


def pinned(pod: Object, *nodes: str) -> Object:
    """Pin a pod to one of some nodes; without node names return it unchanged.

    The scheduler places the pod, as it places the pods of a DaemonSet (ScheduleDaemonSetPods). So
    the pod's status says if the node is full; a pod with ``nodeName`` bypasses the scheduler and
    just fails. The pod tolerates every taint, so a node can be judged while it is cordoned.
    """
    names = list(filter(None, nodes))
    if not names:
        return pod
    # matchFields takes one value only (NodeSelectorRequirement), so each node gets a separate term.
    # The terms are alternatives.
    only = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
    required = {"nodeSelectorTerms": [{"matchFields": [each]} for each in only]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    where = {"affinity": affinity, "tolerations": [{"operator": "Exists"}]}
    return {**pod, "spec": {**pod["spec"], **where}}


def names_in_kind(cluster: str, roles: Sequence[str]) -> tuple[str, ...]:
    """Return the names that kind gives to the nodes of a new cluster.

    Args:
        cluster: Name of the cluster.
        roles: Roles of the nodes, in the order of kind's configuration.

    Source: MakeNodeNamer in kind, pkg/cluster/internal/providers/common/namer.go.
    """
    counts: Counter[str] = Counter()
    names = []
    for role in roles:
        counts[role] += 1
        number = str(counts[role]) if counts[role] > 1 else ""
        names.append(f"{cluster}-{role}{number}")
    return tuple(names)


def _trouble(status: Mapping[str, Any]) -> str:
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True":
        why = ready.get("message") or ready.get("reason") or "its kubelet has said nothing yet"
        return f"not Ready: {why}"
    return "it takes no pods" if status.get("allocatable", {}).get("pods") == "0" else ""
