"""Read the network of a pod on its node, where nothing else gives access to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.backends.netns.programs import find, run_here
from pytest_fsmredir.errors import BackendError, SettingsError, tail


def listed_on_node(pid: int, argv: Sequence[str]) -> str:
    """Return what a command printed in the network namespace of a process.

    Args:
        pid: The process.
        argv: The command.

    Raises:
        SettingsError: There is no such process.
        PreflightError: The program nsenter is missing.
        BackendError: The namespace cannot be entered.
    """
    if not Path(f"/proc/{pid}/ns/net").exists():
        raise SettingsError(
            f"--from-node {pid}: there is no such process here; on the node, 'crictl inspect"
            " --output go-template --template {{.info.pid}} CONTAINER' prints it"
        )
    nsenter = find("nsenter", "install it: apt-get install util-linux")
    done = run_here([nsenter, "--target", str(pid), "--net", *argv])
    if done.status != 0:
        raise BackendError(
            f"the network of process {pid} cannot be used: {tail(done.stderr)}; run this as root"
        )
    return done.stdout
