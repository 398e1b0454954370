"""Choose the nodes to run on from the nodes of the clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_fsmredir.config.parsing import EVERY_NODE
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.text import nearest

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.cluster.nodes import Node

_OPTION = "--fsm-nodes"


def choose(
    asked: Sequence[str], there: Mapping[str, Sequence[Node]]
) -> dict[str, tuple[Node, ...]]:
    """Return the nodes to run on, by backend; for ``all``, sorted by name.

    Args:
        asked: Names, or ``all``.
        there: The existing nodes, by backend.

    Raises:
        SettingsError: No backend has a node of that name, the node does not run Linux, or a
            backend has none of the nodes.
    """
    linux = {
        backend: {
            node.name: node for node in sorted(nodes, key=lambda node: node.name) if node.linux
        }
        for backend, nodes in there.items()
    }
    if tuple(asked) != (EVERY_NODE,):
        _reject_unknown(asked, there)
    chosen = {}
    for backend, nodes in linux.items():
        names = (
            list(nodes)
            if tuple(asked) == (EVERY_NODE,)
            else [each for each in asked if each in nodes]
        )
        if not names:
            raise SettingsError(
                f"{_OPTION}: none of {', '.join(asked)} is a Linux node of the backend {backend};"
                f" there are: {', '.join(nodes) or 'none'}"
            )
        chosen[backend] = tuple(nodes[name] for name in names)
    return chosen


def require_ready(chosen: Mapping[str, Sequence[Node]]) -> None:
    """Require that pods can run on the nodes.

    Raises:
        PreflightError: Some nodes cannot run pods; the message names them and the reasons.
    """
    troubled = [
        f"{node.name} ({node.trouble})"
        for nodes in chosen.values()
        for node in nodes
        if node.trouble
    ]
    if troubled:
        raise PreflightError(
            f"{_OPTION}: no pod can run on {', '.join(troubled)}; find the cause with 'kubectl"
            f" describe node NAME', or name other nodes: {_OPTION} NAME[,NAME]"
        )


def _reject_unknown(asked: Sequence[str], there: Mapping[str, Sequence[Node]]) -> None:
    nodes = {node.name: node for each in there.values() for node in each}
    for name in asked:
        if name not in nodes:
            known = [node.name for node in nodes.values() if node.linux]
            raise SettingsError(
                f"{_OPTION}: no node is called {name!r}{nearest(name, known)} (there are:"
                f" {', '.join(sorted(known)) or 'none'})"
            )
        if not nodes[name].linux:
            raise SettingsError(
                f"{_OPTION}: the node {name} does not run Linux: it has no iptables"
            )
