"""Remove what killed runs have left in a cluster."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import MeshScope
from pytest_fsmredir.backends.kubernetes.pods.webhook import MESH_CONFIG


def clean(cluster: Cluster, mesh_namespace: str) -> list[str]:
    """Remove what ended runs have left behind, and describe each removed thing.

    Args:
        cluster: The cluster to clean.
        mesh_namespace: Namespace of the MeshConfig whose lists a run may have replaced; empty to
            leave MeshConfigs alone.

    Raises:
        ApiError: The cluster does not answer, or this user lacks a right.
    """
    removed = [f"namespace {name}" for name in namespaces.sweep(cluster)]
    if not mesh_namespace:
        return removed
    scope = MeshScope(cluster, mesh_namespace, MESH_CONFIG)
    if scope.put_back():
        removed.append(f"the lists that a run gave to {scope.called}: the mesh has its own again")
    return removed


def guarded(cluster: Cluster, mesh_namespace: str) -> AbstractContextManager[None]:
    """Clean the cluster from another process if this one is killed within the block."""
    command = [sys.executable, "-m", "pytest_fsmredir", "clean", *cluster.options]
    return procs.guarded([*command, "--mesh-namespace", mesh_namespace])
