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
_MOVED_TO = 0x80
"""IN_MOVED_TO of inotify(7): a file has got its name in the directory."""


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
    try:
        return _connected(path)
    except OSError:
        watch = _watch(os.path.dirname(path))  # noqa: PTH120 - pathlib would double the start
    deadline = time.monotonic() + _APPEAR_S
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    try:
        while True:
            try:
                return _connected(path)
            except OSError:
                left = deadline - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    raise
                os.read(watch, _CHUNK)
    finally:
        os.close(watch)


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _watch(directory: str) -> int:
    """Return a descriptor that is readable when a file has got its name in a directory."""
    import ctypes  # most relays find their agents running, and need none of this

    libc = ctypes.CDLL(None, use_errno=True)
    watch = int(libc.inotify_init1(os.O_CLOEXEC))
    if watch < 0 or libc.inotify_add_watch(watch, directory.encode(), _MOVED_TO) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), directory)
    return watch
