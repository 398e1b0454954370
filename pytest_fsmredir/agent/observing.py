"""Watch packets on every interface of the pod, and the rules that they match."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Final

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.packet import parsed
from pytest_fsmredir.traffic.pcap import drained, every_interface, pcap
from pytest_fsmredir.traffic.tracing import TracedRule, Tracer

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


class Watch:
    """Captures packets, and asks the kernel which rules they match, until it is read."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._tracer: Tracer | None = None

    def capture(self) -> None:
        """Begin to capture packets.

        Raises:
            PermissionError: CAP_NET_RAW is missing.
        """
        self._sock = every_interface()

    def captured(self, hosts: Collection[str]) -> bytes:
        """End the capture; return the packets from or to some hosts as a pcap file.

        Args:
            hosts: Their addresses; empty for all packets.
        """
        if self._sock is None:
            return b""
        with self._sock as sock:
            packets = list(drained(sock))
        self._sock = None
        return pcap(each for each in packets if not hosts or _is_of(each.raw, hosts))

    def trace(self) -> None:
        """Begin to trace.

        Raises:
            OSError: The kernel refuses, or CAP_NET_ADMIN is missing.
        """
        self._tracer = Tracer()

    def traced(self, protocol: int) -> list[TracedRule] | None:
        """End the trace; return the rules that first packets of a protocol matched.

        Args:
            protocol: Its number.

        Returns:
            The rules; None if the kernel dropped reports.
        """
        if self._tracer is None:
            return []
        with closing(self._tracer) as tracer:
            self._tracer = None
            return tracer.matched(protocol)


def _is_of(raw: bytes, hosts: Collection[str]) -> bool:
    packet = parsed(raw)
    return packet.source.host in hosts or packet.destination.host in hosts


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
