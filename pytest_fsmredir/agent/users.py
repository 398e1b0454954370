"""Create sockets that other users own."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_fsmredir.traffic.sockets import address_family

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setfsuid.restype = _libc.setfsgid.restype = ctypes.c_uint  # ids are unsigned


class OwnedSockets:
    """Creates sockets of any user if root, otherwise of the current user.

    ``-m owner`` matches the credentials that opened the socket's file (``f_cred->fsuid``,
    linux/net/netfilter/xt_owner.c), that is, the file system user. Changing it requires CAP_SETUID
    and CAP_SETGID, which a container runtime grants by default.
    """

    def __call__(
        self, family: int, kind: int, proto: int = 0, *, uid: int = 0, gid: int = 0
    ) -> socket.socket:
        """Return a non-blocking socket, owned by ``uid`` and ``gid`` if possible."""
        with owner(uid, gid):
            sock = socket.socket(address_family(family), kind, proto)
        sock.setblocking(False)
        return sock


@contextmanager
def owner(uid: int, gid: int) -> Iterator[None]:
    """Set the file system user and group for the block. Does nothing unless the process is root.

    Raises:
        OSError: Root lacks the capability.
    """
    if os.geteuid() != 0 or (uid, gid) == (0, 0):
        yield
        return
    _set(uid, gid)
    try:
        yield
    finally:
        _set(0, 0)


def _set(uid: int, gid: int) -> None:
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    # Both calls return the old value, never an error; a call with an invalid id reads the value.
    invalid = ctypes.c_uint(0xFFFFFFFF)
    if (_libc.setfsuid(invalid), _libc.setfsgid(invalid)) != (uid, gid):
        raise OSError(f"this container may not make sockets of user {uid}, group {gid}")
