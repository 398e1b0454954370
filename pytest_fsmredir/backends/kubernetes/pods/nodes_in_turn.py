"""Make the pods of a cluster's nodes in blocks, and tell which node cannot be judged.

The pods of a few nodes exist at a time, however many nodes there are. The nodes of a block start
their pods in parallel, while the checks of one node run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.nodes import nodes_of
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import BackendError, NodeLostError, PreflightError

BLOCK = 8
"""Nodes whose pods are made together: 8 nodes have about 500 pods in a run of all checks."""

Make = Callable[[Sequence[Wanted]], Sequence[PooledPod]]
"""Starts the pods that checks on some nodes need."""


class NodesInTurn:
    """The nodes of a run, in the order of their checks.

    A node has its pods when one of them is up: a cause that all pods share, such as a missing
    image, shows in the first. A check waits for the pods that it uses.

    Args:
        cluster: The cluster to use.
        wanted: The checks; those of one node follow each other.
        make: Starts pods.
        wait: Waits for pods.
        remove: Removes a pod that no check needs any more.
    """

    def __init__(
        self,
        cluster: Cluster,
        wanted: Iterable[Wanted] = (),
        *,
        make: Make,
        wait: Callable[[Sequence[PooledPod]], None],
        remove: Callable[[PooledPod], None],
    ) -> None:
        self._cluster, self._make, self._wait, self._remove = cluster, make, wait, remove
        self._wanted: dict[str, list[Wanted]] = {}
        for each in wanted:
            self._wanted.setdefault(each.node, []).append(each)
        self._order = list(self._wanted)
        self._sites: dict[str, list[PooledPod]] = {}
        self._used: dict[int, PooledPod] = {}
        self._failed: dict[str, BackendError] = {}
        self._current: str | None = None

    def begin(self) -> None:
        """Have the pods of the first node.

        Raises:
            BackendError: They cannot come up, and their node is not the reason.
        """
        for node in self._order[:1]:
            with suppress(NodeLostError):  # its checks report it
                self.reach(node)

    def reach(self, node: str) -> list[PooledPod]:
        """Have the pods of a node, and remove those of the node before it.

        Returns:
            If a link was lost since the last call, the pods that checks of the node have used and
            can use further: their agents may have accepted flows that nobody asked for. Else none.

        Raises:
            BackendError: The node cannot be judged. Its later checks get the same error at once.
        """
        if node in self._wanted and node != self._current:
            self._leave()
            self._current = node
            self._begin(node)
        some_lost = node not in self._failed and self._look(node)
        if node in self._failed:
            raise self._failed[node]
        return list(self._used.values()) if some_lost else []

    def use(self, site: PooledPod) -> None:
        """Remember that a check uses the link to a pod."""
        self._used[id(site)] = site

    def wait(self, site: PooledPod) -> PooledPod:
        """Wait until a pod of the mesh is up, or refused by the implementation.

        Raises:
            BackendError: It cannot come up, or its node was lost.
        """
        try:
            self._wait([site])
        except BackendError as error:
            node = site.ordered.node
            if (lost := self._lost(node)) is not None:
                self._failed[node] = lost
            raise lost or error from error
        return site

    def _begin(self, node: str) -> None:
        try:
            due = [each for each in self._due(node) if each not in self._sites]
            self._sites |= {each: [] for each in due}
            for site in self._make([one for each in due for one in self._wanted[each]]):
                self._sites[site.ordered.node].append(site)
            self._wait(self._sites[node][:1])
        except BackendError as error:
            self._failed[node] = self._lost(node) or error

    def _due(self, node: str) -> list[str]:
        """Return the nodes whose pods are made now: the block, and the next one at its end."""
        place = self._order.index(node)
        end = place - place % BLOCK + BLOCK
        return self._order[place : end + BLOCK if place == end - 1 else end]

    def _leave(self) -> None:
        self._used.clear()
        if self._current is not None:
            for site in self._sites.pop(self._current, ()):
                with suppress(Exception):  # a stream to a dead node may fail in many ways
                    self._remove(site)

    def _look(self, node: str) -> bool:
        """Ask for the state of a node if a link was lost or did not come up; return whether."""
        lost = [key for key, site in self._used.items() if site.link is None or site.link.lost]
        for key in lost:
            del self._used[key]
        if lost and (error := self._lost(node)) is not None:
            self._failed[node] = error
        return bool(lost)

    def _lost(self, node: str) -> NodeLostError | None:
        """Return the error of a node that runs no pods; None if it is not known to be lost."""
        try:
            found = {each.name: each.trouble for each in nodes_of(self._cluster)} if node else {}
        except PreflightError:
            return None
        why = found.get(node, "it was removed") if node else ""
        return NodeLostError(f"the node {node} was lost: {why}") if why else None
