"""Read the rules of a running pod through an ephemeral container with NET_ADMIN."""

from __future__ import annotations

import argparse

from pytest_fsmredir.cli.pod.printing import printed_in
from pytest_fsmredir.cli.rules.source import Source
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
    found, printed = printed_in(arguments, live.command("python3"))
    rules = live.read(printed)
    addresses = tuple(each["ip"] for each in found.pod["status"]["podIPs"])
    pod = Surroundings.of(rules, addresses, closed=True)
    pod = pod or Surroundings({"eth0": addresses}, closed=True)
    policy = None if found.not_in_mesh else found.configuration.policy()
    families = tuple(sorted({6 if ":" in address else 4 for address in addresses}))
    return Source(rules, policy, pod, families, printable(found.headline))
