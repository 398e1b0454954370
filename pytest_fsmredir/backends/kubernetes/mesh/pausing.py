"""Open a shell in a pod of a cluster, on the terminal of this process."""

from __future__ import annotations

import os
import shutil

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.backends.kubernetes.pods.manifests import shell_command
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant


def enter(pod: KubePod, iptables: IptablesVariant) -> None:
    """Run a shell in our container for evidence until it ends; agents and sidecars go on.

    It is a shell of root with NET_ADMIN, if the cluster admits such a container.

    Args:
        pod: The pod.
        iptables: The variant of the iptables programs that come first on PATH.

    Raises:
        BackendError: The pod takes no container of ours, or kubectl is missing.
    """
    guest = pod.guest
    kubectl, *named = guest.cluster.kubectl
    program = shutil.which(kubectl)
    if program is None:
        raise BackendError(
            "kubectl, which opens the shell, is not installed: https://kubernetes.io/docs/tasks/tools/"
        )
    where = ["exec", "-it", "--namespace", guest.namespace, guest.pod, "--container", guest.name]
    command = shell_command(iptables, f"{pod.address} # ")
    shell = procs.Interactive([program, *named, *where, "--", *command], os.environ)
    try:
        shell.wait()
    finally:
        shell.stop()
