"""``stdio NAME`` runs an agent that takes commands from its standard input.

``stdio NAME sidecar`` also has the sidecar of the pod beside it, as a process of its own user.
``serve NAME`` runs an agent that takes them from a Unix socket; the other agent of the pod passes
them on. ``observe ARGUMENTS`` sends one flow: it runs the command of that name with arguments in
JSON, and prints the result.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.agent.server import SOCKETS, Server, SocketCaller
from pytest_fsmredir.model.reserved import SIDECAR_UID


def main(argv: Sequence[str]) -> int:
    """Run one action, and return the exit status."""
    action, name, *others = argv
    beside = {other: _beside(other) for other in others}
    server = Server()
    if action == "observe":
        sys.stdout.write(json.dumps(server.commands.observe(**json.loads(name))))
        return 0
    if action == "stdio":
        server.attend(name, beside)
        server.run()
    server.listen(Path(SOCKETS, f"{name}.sock"))
    _take_role(server, name)
    server.run()
    return 0


def _beside(name: str) -> socket.socket:
    """Run an agent in a process of the sidecar's user, and return a connection to it.

    Its user has no capabilities, as in a container of its own.
    """
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        os.setuid(SIDECAR_UID)
        server = Server()
        theirs.setblocking(False)
        SocketCaller(server, theirs)
        _take_role(server, name)
        server.run()
    theirs.close()
    return ours


def _take_role(server: Server, name: str) -> None:
    """Open the listeners of a sidecar or a health responder."""
    addresses = os.environ.get("POD_IPS", "").split(",")
    if name == "sidecar":
        ports = os.environ.get("FSM_PROBE_PORTS", "").split(",")
        server.commands.sidecar(addresses, [int(port) for port in ports if port])
    elif name == "health":
        server.commands.health(addresses, probed=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
