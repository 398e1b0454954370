"""Read a running pod of a cluster through an ephemeral container with NET_ADMIN."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from pytest_fsmredir.backends.kubernetes.agents.once import run_once
from pytest_fsmredir.cli.capture import reading
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.pod.finding import find, parse_name
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.model.capture import Capture


def captured(arguments: argparse.Namespace) -> Capture:
    """Return the pod that the options name.

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
        command = reading.command("python3")
        printed = run_once(access.cluster, namespace, name, access.image, command)
    known = reading.Known(
        taken_from="pod",
        pod=found.pod,
        configuration=found.configuration,
        addresses=[each["ip"] for each in found.pod["status"]["podIPs"]],
        lacks=[f"a mesh: {found.not_in_mesh}"] if found.not_in_mesh else [],
    )
    return reading.read(printed, known)
