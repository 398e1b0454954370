"""The objects of a simulated cluster."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from pytest_fsmredir.backends.netns.sandbox import Sandbox
from tests.simulated.pods import Agent, Kubelets

Object = dict[str, Any]


class NotFoundError(Exception):
    """There is no such object."""


class SimulatedCluster:
    """Nodes, namespaces and pods.

    Attributes:
        nodes: The names of the nodes.
        dead: The names of the nodes that have died.
        requests: Number of requests, by method and kind of path.
        most_pods: The largest number of pods at one time.

    Args:
        nodes: Number of nodes.
        doomed: Flows from pods of a node after which it dies, by its name.
    """

    def __init__(self, nodes: int, doomed: Mapping[str, int] = {}) -> None:
        self._doomed = dict(doomed)
        self.most_pods = 0
        self.nodes = [f"node-{number:02}" for number in range(1, nodes + 1)]
        self.dead: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.kubelets = Kubelets()
        self._lock = threading.Lock()
        self._namespaces: dict[str, Object] = {}
        self._pods: dict[tuple[str, str], Object] = {}
        self._running: dict[tuple[str, str], tuple[Sandbox, dict[str, Agent]]] = {}
        self._numbers = count(1)

    def node_objects(self) -> list[Object]:
        """Return the nodes as the API has them."""
        return [
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
                "spec": {},
                "status": {"conditions": [self._ready(name)], "allocatable": {"pods": "250"}},
            }
            for name in self.nodes
        ]

    def kill(self, node: str) -> None:
        """Let a node die: its kubelet says nothing more, and its pods hear nothing."""
        with self._lock:
            self.dead.add(node)
            lost = [key for key, pod in self._pods.items() if pod["spec"]["nodeName"] == node]
        for key in lost:
            self._end(key)

    def namespaces(self) -> list[Object]:
        """Return the namespaces."""
        return list(self._namespaces.values())

    def create_namespace(self, body: Object) -> Object:
        """Create a namespace."""
        body["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
        self._namespaces[body["metadata"]["name"]] = body
        return body

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and its pods."""
        self._namespaces.pop(name, None)
        for key in [key for key in self._pods if key[0] == name]:
            self.delete_pod(*key)

    def create_pod(self, namespace: str, body: Object) -> Object:
        """Create a pod on the node that it is pinned to."""
        key = (namespace, body["metadata"]["name"])
        pod = copy.deepcopy(body)
        pod["spec"]["nodeName"] = self._node_for(body["spec"])
        pod["status"] = {"phase": "Pending"}
        with self._lock:
            self._pods[key] = pod
            self.most_pods = max(self.most_pods, len(self._pods))
        if pod["spec"]["nodeName"] not in self.dead:
            self.kubelets.submit(lambda: self._start(key))
        return pod

    def pods(self, namespace: str) -> list[Object]:
        """Return the pods of a namespace."""
        with self._lock:
            return [pod for key, pod in self._pods.items() if key[0] == namespace]

    def pod(self, namespace: str, name: str) -> Object:
        """Return a pod."""
        try:
            return self._pods[namespace, name]
        except KeyError:
            raise NotFoundError(f'pods "{name}" not found') from None

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod."""
        with self._lock:
            if self._pods.pop((namespace, name), None) is None:
                raise NotFoundError(f'pods "{name}" not found')
        self._end((namespace, name))

    def agents(self, namespace: str, name: str) -> dict[str, Agent]:
        """Return the agents of a running pod."""
        try:
            return self._running[namespace, name][1]
        except KeyError:
            raise NotFoundError(f"pod {name} does not run") from None

    def heard(self, namespace: str, name: str, command: bytes) -> None:
        """Count the flows of a doomed node, and let it die in time."""
        node = self.pod(namespace, name)["spec"]["nodeName"]
        if node in self._doomed and b'"open"' in command:
            self._doomed[node] -= 1
            if self._doomed[node] < 0:
                del self._doomed[node]
                self.kill(node)

    def _ready(self, node: str) -> Object:
        if node in self.dead:
            message = "Kubelet stopped posting node status."
            return {"type": "Ready", "status": "Unknown", "message": message}
        return {"type": "Ready", "status": "True"}

    def _node_for(self, spec: Object) -> str:
        required = spec.get("affinity", {}).get("nodeAffinity", {})
        terms = required.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        named = [
            field["values"][0]
            for term in terms.get("nodeSelectorTerms", ())
            for field in term["matchFields"]
        ]
        alive = [name for name in named or self.nodes if name not in self.dead]
        free = alive or named
        return free[next(self._numbers) % len(free)]

    def _start(self, key: tuple[str, str]) -> None:
        pod = self._pods.get(key)
        if pod is None or pod["spec"]["nodeName"] in self.dead:
            return
        site, agents = self.kubelets.start(pod)
        self._running[key] = (site, agents)
        containers = [
            {"name": each["name"], "state": {"running": {}}} for each in pod["spec"]["containers"]
        ]
        pod["status"] = {
            "phase": "Running",
            "podIPs": [{"ip": address} for address in site.addresses],
            "containerStatuses": containers,
        }

    def _end(self, key: tuple[str, str]) -> None:
        def end() -> None:
            site, agents = self._running.pop(key, (None, {}))
            for agent in agents.values():
                agent.end()
            if site is not None:
                site.close()

        self.kubelets.submit(end)
