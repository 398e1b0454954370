"""``serve NAME`` runs an agent; ``relay NAME...`` joins a pod's agents in one stream.

``stdio NAME`` runs one that is spoken to by its standard streams, without a relay.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.agent.relay import relay

SOCKETS = Path("/run/fsmredir")


def main(argv: Sequence[str]) -> int:
    """Run one action, and return the exit status."""
    action, *names = argv
    if action == "relay":
        return relay(SOCKETS, names)
    from pytest_fsmredir.agent.server import Server

    (name,) = names
    server = Server()
    if action == "stdio":
        server.attend(name)
        server.run()
    server.listen(SOCKETS / f"{name}.sock")
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
