"""Run a command in a running pod, in an ephemeral container with NET_ADMIN."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack

from pytest_fsmredir.backends.kubernetes.agents.once import run_once
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.pod.finding import Found, find, parse_name
from pytest_fsmredir.errors import PreflightError


def printed_in(arguments: argparse.Namespace, command: Sequence[str]) -> tuple[Found, str]:
    """Return the pod that the options name, and what the command prints there.

    Raises:
        PreflightError: The pod does not exist or does not run, or has no network of its own.
        BackendError: The pod takes no container with NET_ADMIN.
    """
    namespace, name = parse_name(arguments.pod)
    with ExitStack() as undo:
        access = cluster_access(arguments, undo, answering=False)
        found = find(access.cluster, namespace, name, arguments.mesh_namespace)
        if found.on_host_network:
            raise PreflightError(f"pod {found.name} is on the network of its node")
        return found, run_once(access.cluster, namespace, name, access.image, command)
