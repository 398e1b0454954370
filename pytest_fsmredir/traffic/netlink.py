"""Encode and decode the messages of netlink sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

REPLACE: Final = 0x100  # linux/netlink.h
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400

_REQUEST = 0x1
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type


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
