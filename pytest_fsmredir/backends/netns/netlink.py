"""Routing netlink sockets: send requests as bytes, and read the answers.

A process of ``ip`` would take several times as long as the kernel's own work.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.traffic.netlink import attribute, message, messages

RTM_NEWLINK, RTM_GETLINK = 16, 18  # linux/rtnetlink.h
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
IFLA_IFNAME = 3  # linux/if_link.h

_ACK = 0x4  # linux/netlink.h
_ERROR = 2
_CODE = struct.Struct("=i")  # struct nlmsgerr begins with a negative errno
_ANSWER_SIZE = 65536


@dataclass(frozen=True, slots=True)
class NetlinkRequest:
    """One netlink request.

    Attributes:
        what: The request in words, for error messages.
        kind: Message type.
        flags: How to handle an existing object.
        body: The message after its header.
    """

    what: str
    kind: int
    flags: int
    body: bytes


class Netlink:
    """A routing socket of the namespace of the thread that creates it.

    It stays in that namespace and any thread may use it, so requests need no extra thread.
    """

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.bind((0, 0))
        self._serial = 0
        self._lock = threading.Lock()

    def ask(self, *requests: NetlinkRequest) -> None:
        """Send requests, in this order, and wait for the answers.

        Raises:
            BackendError: The kernel refused some of them; the message names the first.
        """
        with self._lock:
            first, data = self._serial + 1, b""
            for request in requests:
                self._serial += 1
                # Request an answer to the last one; the kernel reports errors of the others anyway.
                flags = request.flags | (_ACK if request is requests[-1] else 0)
                data += message(request.kind, flags, self._serial, request.body)
            self._sock.send(data)
            failures = list(self._failures(self._serial))
        for serial, code in failures:
            why = os.strerror(code)
            raise BackendError(f"the kernel could not {requests[serial - first].what}: {why}")

    def index(self, interface: str) -> int:
        """Return the number of a network interface.

        Raises:
            BackendError: No interface has that name.
        """
        name = attribute(IFLA_IFNAME, interface.encode() + b"\0")
        with self._lock:
            self._serial += 1
            self._sock.send(message(RTM_GETLINK, 0, self._serial, LINK.pack(0, 0, 0, 0, 0) + name))
            kind, _, body = next(messages(self._sock.recv(_ANSWER_SIZE)))
        if kind != RTM_NEWLINK:
            raise BackendError(f"there is no interface {interface}")
        found: int = LINK.unpack_from(body)[2]
        return found

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _failures(self, last: int) -> Iterator[tuple[int, int]]:
        """Yield (serial, errno) of failed requests, until the last one is answered."""
        while True:
            for kind, serial, body in messages(self._sock.recv(_ANSWER_SIZE)):
                code = -_CODE.unpack_from(body)[0] if kind == _ERROR else errno.EPROTO
                if code:
                    yield serial, code
                if serial == last:
                    return
