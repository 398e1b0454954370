"""``mesh ROLE``: run one role of the mesh's image in a container."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_fsmredir.model.reserved import ADMIN_PORT
from pytest_fsmredir.reference_mesh.api import Api
from pytest_fsmredir.reference_mesh.sidecar import run_health, run_sidecar
from pytest_fsmredir.reference_mesh.webhook import PORT, WebhookServer

CERTIFICATE = Path("/etc/fsmredir/certificate")

READY_S = 60.0
"""Seconds that the application waits for the sidecar to open its ports."""

_LOOK_S = 0.02  # seconds between two tries: no event tells that a port of others is open


def main(argv: Sequence[str]) -> int:
    """Run the role that the first argument names, and return the exit status.

    Further arguments are ignored, because FSM's injector passes Pipy's arguments to a sidecar.
    """
    roles: Mapping[str, Callable[[], int]] = {
        "sidecar": lambda: run_sidecar(os.environ),
        "health": lambda: run_health(os.environ),
        "wait": _wait,
        "webhook": _webhook,
    }
    if not argv or argv[0] not in roles:
        sys.stderr.write(f"usage: mesh {'|'.join(roles)}\n")
        return 2
    # Process 1 of a container ignores signals without a handler (pid_namespaces(7)).
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    return roles[argv[0]]()


def _webhook() -> int:
    image = os.environ["FSM_MESH_IMAGE"]
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - it is a server
    server = WebhookServer((everywhere, PORT), Api.of_this_pod(), image, CERTIFICATE)
    with server:
        server.serve_forever()
    return 0


def _wait() -> int:
    """Wait until the sidecar has opened its ports."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", ADMIN_PORT), timeout=1.0).close()
        except OSError:
            time.sleep(_LOOK_S)
        else:
            return 0
    sys.stderr.write(f"the sidecar did not open port {ADMIN_PORT} in {READY_S:.0f} s\n")
    return 1
