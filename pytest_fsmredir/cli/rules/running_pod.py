"""Read the rules of a running pod through an ephemeral container with NET_ADMIN."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from pytest_fsmredir.backends.kubernetes.agents.once import run_once
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.pod.finding import find, parse_name
from pytest_fsmredir.cli.rules.source import Source
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.text import printable


def read_pod(arguments: argparse.Namespace) -> Source:
    """Return the rules, the policy and the addresses of the pod that the options name.

    Raises:
        PreflightError: The pod does not exist or does not run.
        BackendError: The pod takes no container with NET_ADMIN.
        RulesError: The rules cannot be read.
    """
    namespace, name = parse_name(arguments.pod)
    with ExitStack() as undo:
        access = cluster_access(arguments, undo, answering=False)
        found = find(access.cluster, namespace, name, arguments.mesh_namespace)
        if found.on_host_network:
            raise PreflightError(f"pod {found.name} is on the network of its node")
        command = live.command("python3")
        printed = run_once(access.cluster, namespace, name, access.image, command)
    rules = live.read(printed)
    addresses = tuple(each["ip"] for each in found.pod["status"]["podIPs"])
    pod = Surroundings.of(rules, addresses, closed=True)
    pod = pod or Surroundings({"eth0": addresses}, closed=True)
    policy = None if found.not_in_mesh else found.configuration.policy()
    families = tuple(sorted({6 if ":" in address else 4 for address in addresses}))
    return Source(rules, policy, pod, families, printable(found.headline))
