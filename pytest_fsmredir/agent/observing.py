"""Watch where the first packets of this process's own flows go, on every interface of the pod."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.packet import parsed
from pytest_fsmredir.traffic.pcap import drained, every_interface

_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER in linux/asm-generic/socket.h
_OPENING: Final = (
    (0x30, 0, 0, 0), (0x54, 0, 0, 0xF0),  # the version of IP
    (0x15, 3, 0, 0x40), (0x15, 0, 11, 0x60),
    (0x30, 0, 0, 6), (0x15, 2, 9, 6),  # IPv6: is the next header TCP?
    (0x30, 0, 0, 9), (0x15, 2, 7, 6),  # IPv4: is the protocol TCP?
    (0x30, 0, 0, 53), (0x05, 0, 0, 2),  # the flags behind a header of 40 bytes
    (0xB1, 0, 0, 0), (0x50, 0, 0, 13),  # the flags behind a header of any length
    (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02),  # SYN without ACK
    (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip
"""A filter of the kernel (linux/filter.h): code, jumps if true and if false, and a number."""


class FirstPackets:
    """The first packets of connections that leave, enter or cross the pod."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def of(self, client: Address | None) -> list[Address] | None:
        """Return where those of one client went; None if this process may not see packets."""
        if self._sock is None:
            return None
        packets = [parsed(each.raw) for each in drained(self._sock)]
        return [each.destination for each in packets if each.opens and each.source == client]


@contextmanager
def first_packets() -> Iterator[FirstPackets]:
    """Capture the first packets of connections for the block, and no others."""
    try:
        sock = every_interface()
    except PermissionError:  # without CAP_NET_RAW
        yield FirstPackets(None)
        return
    with closing(sock):
        _keep_first_packets(sock)
        yield FirstPackets(sock)


def _keep_first_packets(sock: socket.socket) -> None:
    """Drop all other packets in the kernel: a pod in production can have very many."""
    code = b"".join(struct.pack("HBBI", *each) for each in _OPENING)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HL", len(_OPENING), ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
