"""``stdio NAME`` runs an agent that takes commands from its standard input.

``serve NAME`` runs an agent that takes them from a Unix socket; the other agent of the pod passes
them on. ``observe ARGUMENTS`` sends one flow: it runs the command of that name with arguments in
JSON, and prints the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.agent.server import SOCKETS, Server


def main(argv: Sequence[str]) -> int:
    """Run one action, and return the exit status."""
    action, name = argv
    server = Server()
    if action == "observe":
        sys.stdout.write(json.dumps(server.commands.observe(**json.loads(name))))
        return 0
    if action == "stdio":
        server.attend(name)
        server.run()
    server.listen(Path(SOCKETS, f"{name}.sock"))
    addresses = os.environ.get("POD_IPS", "").split(",")
    if name == "sidecar":
        ports = os.environ.get("FSM_PROBE_PORTS", "").split(",")
        server.commands.sidecar(addresses, [int(port) for port in ports if port])
    elif name == "health":
        server.commands.health(addresses, probed=True)
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
