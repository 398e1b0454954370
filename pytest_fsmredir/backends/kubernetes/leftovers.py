"""What runs that were killed have left in a cluster, and how it is removed."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import MeshScope
from pytest_fsmredir.backends.kubernetes.pods.webhook import MESH_CONFIG


def clean(cluster: Cluster, mesh_namespace: str) -> list[str]:
    """Remove what runs that are over have left behind, and return what that was.

    Args:
        cluster: Where.
        mesh_namespace: Where the MeshConfig is whose lists a run may have set aside; empty for
            none.

    Raises:
        ApiError: The cluster does not answer, or this user may not do it.
    """
    removed = [f"namespace {name}" for name in namespaces.sweep(cluster)]
    if not mesh_namespace:
        return removed
    scope = MeshScope(cluster, mesh_namespace, MESH_CONFIG)
    if scope.put_back():
        removed.append(f"the lists that a run gave to {scope.called}: the mesh has its own again")
    return removed


def guarded(cluster: Cluster, mesh_namespace: str) -> AbstractContextManager[None]:
    """Have a cluster cleaned after this process if that is killed within the block."""
    command = [sys.executable, "-m", "pytest_fsmredir", "clean", *cluster.options]
    return procs.guarded([*command, "--mesh-namespace", mesh_namespace])
