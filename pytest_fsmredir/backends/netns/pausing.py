"""Open a shell in a pod, on the terminal of this process."""

from __future__ import annotations

import os
from typing import Final

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.programs import Toolbox

_LOOK_S: Final = 0.1


def enter(pod: NetnsPod, toolbox: Toolbox) -> None:
    """Run a shell in a pod as root until it ends; meanwhile servers and sidecars answer.

    Raises:
        CommandError: No shell could be started.
    """
    env = {
        "PATH": toolbox.path,
        "PS1": f"{pod.address} # ",
        "TERM": os.environ.get("TERM", "dumb"),
        "HOME": "/",
    }
    shell = pod.site.namespace.run_apart(lambda: procs.Interactive(["/bin/sh", "-i"], env))
    try:
        while not shell.ended:
            pod.host.engine.pump(lambda: shell.ended, _LOOK_S)
    finally:
        shell.stop()
