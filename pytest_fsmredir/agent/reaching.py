"""Connect to the other agents of a pod, which may start later."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import time

_CHUNK = 1024 * 1024
_APPEAR_S = 60.0
_MOVED_TO = 0x80
"""IN_MOVED_TO of inotify(7): a file has got its name in the directory."""


def reached(path: str) -> socket.socket:
    """Return a connection to an agent; wait if the agent has not started yet.

    Raises:
        OSError: It does not start in time.
    """
    try:
        return _connected(path)
    except OSError:
        watch = _watch(os.path.dirname(path))  # noqa: PTH120 - path is text
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
    libc = ctypes.CDLL(None, use_errno=True)
    watch = int(libc.inotify_init1(os.O_CLOEXEC))
    if watch < 0 or libc.inotify_add_watch(watch, directory.encode(), _MOVED_TO) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), directory)
    return watch
