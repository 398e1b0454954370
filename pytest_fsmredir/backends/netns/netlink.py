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
from typing import Final

from pytest_fsmredir.errors import BackendError

REPLACE: Final = 0x100  # linux/netlink.h
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400

RTM_NEWLINK, RTM_GETLINK = 16, 18  # linux/rtnetlink.h
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
IFLA_IFNAME = 3  # linux/if_link.h

_REQUEST, _ACK = 0x1, 0x4
_ERROR = 2
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
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


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, serial, body) of each message in a datagram."""
    while len(data) >= _HEADER.size:
        length, kind, _, serial, _ = _HEADER.unpack_from(data)
        yield kind, serial, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def attributes(data: bytes, start: int, *wanted: int) -> dict[int, bytes]:
    """Return some of the attributes that follow the fixed part of a message, by type.

    Args:
        data: The message.
        start: Where its fixed part ends.
        wanted: Attribute types. Reading stops when all are found, because a link has dozens.
    """
    found: dict[int, bytes] = {}
    while len(data) - start >= _ATTRIBUTE.size and len(found) < len(wanted):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if kind in wanted:
            found[kind] = data[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)
    return found


def attribute(kind: int, data: bytes) -> bytes:
    """Return an encoded attribute."""
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + bytes(_aligned(length) - length)


def number(kind: int, value: int) -> bytes:
    """Return an encoded attribute whose value is a number."""
    return attribute(kind, struct.pack("=I", value))


def message(kind: int, flags: int, serial: int, body: bytes) -> bytes:
    """Return an encoded request."""
    head = _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, serial, 0)
    return head + body + bytes(_aligned(len(body)) - len(body))


def _aligned(length: int) -> int:
    """Return where the next message or attribute begins."""
    return (length + 3) & ~3
