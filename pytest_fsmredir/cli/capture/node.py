"""Read the network of a pod on its node, where nothing else gives access to it."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_fsmredir.backends.netns.programs import find, run_here
from pytest_fsmredir.cli.capture.reading import command
from pytest_fsmredir.errors import BackendError, SettingsError, tail


def listed_on_node(pid: int) -> str:
    """Return what the command printed in the network namespace of a process.

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
    argv = [nsenter, "--target", str(pid), "--net", *command(sys.executable)]
    done = run_here(argv)
    if done.status != 0:
        raise BackendError(
            f"the network of process {pid} cannot be read: {tail(done.stderr)}; run this as root"
        )
    return done.stdout
