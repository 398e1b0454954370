"""Connect one stream to all agents of a pod: forward each line to the agent that it names.

A relay starts in each pod of a run, so it imports very little.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKETS = "/run/fsmredir"
"""The directory of the agents' sockets; each socket has its agent's name."""

_CHUNK = 1024 * 1024
_APPEAR_S = 60.0
_LOOK_S = 0.05


def relay(names: Sequence[str]) -> int:
    """Forward lines ``NAME TAB TEXT`` between the standard streams and the agents' sockets.

    Returns:
        Exit status: 0 if the input ended; 1 if an agent ended or never started.
    """
    try:
        agents = {name: _reached(f"{SOCKETS}/{name}.sock") for name in names}
    except OSError as error:
        sys.stderr.write(f"an agent did not come up: {error}\n")
        return 1
    names_of = {sock.fileno(): name for name, sock in agents.items()}
    pending: dict[int, bytes] = dict.fromkeys([0, *names_of], b"")
    poll = select.poll()
    for descriptor in pending:
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            data = os.read(descriptor, _CHUNK)
            if not data:
                return 0 if descriptor == 0 else 1
            *lines, pending[descriptor] = (pending[descriptor] + data).split(b"\n")
            for line in lines:
                if descriptor == 0:
                    name, _, text = line.partition(b"\t")
                    agents[name.decode()].sendall(text + b"\n")
                else:
                    _write(names_of[descriptor].encode() + b"\t" + line + b"\n")


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _reached(path: str) -> socket.socket:
    """Return a connection to an agent; wait if the agent has not started yet."""
    deadline = time.monotonic() + _APPEAR_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)
        else:
            return sock
