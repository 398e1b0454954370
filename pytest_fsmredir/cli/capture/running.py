"""Read a running pod of a cluster through an ephemeral container with NET_ADMIN."""

from __future__ import annotations

import argparse

from pytest_fsmredir.cli.capture import reading
from pytest_fsmredir.cli.pod.printing import printed_in
from pytest_fsmredir.model.capture import Capture


def captured(arguments: argparse.Namespace) -> Capture:
    """Return the pod that the options name.

    Raises:
        PreflightError: The pod does not exist or does not run, or has no network of its own.
        BackendError: The pod takes no container with NET_ADMIN.
    """
    found, printed = printed_in(arguments, reading.command("python3"))
    known = reading.Known(
        taken_from="pod",
        pod=found.pod,
        configuration=found.configuration,
        addresses=[each["ip"] for each in found.pod["status"]["podIPs"]],
        lacks=[f"a mesh: {found.not_in_mesh}"] if found.not_in_mesh else [],
    )
    return reading.read(printed, known)
