"""The nodes of a cluster: which there are, whether pods can run there, and how a pod gets there."""

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
    """A node of a cluster, as far as it matters to a run.

    Attributes:
        name: As the cluster knows it.
        linux: Its kernel is Linux, so that it can be judged.
        trouble: Why no pod can run on it; empty if one can.
    """

    name: str
    linux: bool = True
    trouble: str = ""


def nodes_of(cluster: Cluster) -> tuple[Node, ...]:
    """Return the nodes of a cluster.

    Raises:
        PreflightError: They cannot be listed.
    """
    try:
        items = cluster.get(_NODES)["items"]
    except BackendError as error:
        raise PreflightError(
            f"the cluster's nodes cannot be listed: {error}; see: kubectl auth can-i list nodes"
        ) from None
    return tuple(node_of(item) for item in items)


def require_nodes(cluster: Cluster, names: Sequence[str]) -> None:
    """See that a cluster has the nodes of these names.

    Raises:
        BackendError: It has not: it is another cluster than the one that was asked for them, or
            one was removed meanwhile.
    """
    there = {node.name for node in nodes_of(cluster)} if names else set()
    if missing := [name for name in names if name not in there]:
        raise BackendError(
            f"the cluster has no node {', '.join(missing)} any more; there are:"
            f" {', '.join(sorted(there))}"
        )


def node_of(document: Mapping[str, Any]) -> Node:
    """Return a node, as the API has it."""
    metadata, status = document["metadata"], document.get("status", {})
    system = status.get("nodeInfo", {}).get("operatingSystem", "linux")
    system = (metadata.get("labels") or {}).get("kubernetes.io/os", system)
    return Node(metadata["name"], system == "linux", _trouble(status))


def pinned(pod: Object, *nodes: str) -> Object:
    """Return a pod that runs on one of some nodes and nowhere else; unchanged if none is named.

    As a DaemonSet's pods (ScheduleDaemonSetPods), it is scheduled: a node that is full is named in
    the pod's status, where one that is put past the scheduler (``nodeName``) just fails. It puts up
    with every taint, so a node that takes no other pods, such as one that is cordoned until it
    has been judged, takes it too.
    """
    names = list(filter(None, nodes))
    if not names:
        return pod
    # A field takes one value (NodeSelectorRequirement); terms are alternatives.
    only = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
    required = {"nodeSelectorTerms": [{"matchFields": [each]} for each in only]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    where = {"affinity": affinity, "tolerations": [{"operator": "Exists"}]}
    return {**pod, "spec": {**pod["spec"], **where}}


def names_in_kind(cluster: str, roles: Sequence[str]) -> tuple[str, ...]:
    """Return how kind names the nodes of a cluster that it makes.

    Args:
        cluster: The cluster's name.
        roles: Of its nodes, in the order of its configuration.

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
