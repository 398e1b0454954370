"""Capture packets with their times, and write them as a pcap file."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pytest_fsmredir.traffic.tap import ETH_P_ALL

_TIMESTAMPS: Final = 35  # SO_TIMESTAMPNS_OLD in linux/asm-generic/socket.h
_TIME: Final = struct.Struct("@ll")
_FILE: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_MAGIC: Final = 0xA1B23C4D  # times have nanoseconds
_RAW: Final = 101  # LINKTYPE_RAW: packets begin with the IP header
_LONGEST: Final = 65535
_IP: Final = frozenset({0x0800, 0x86DD})


class Captured(NamedTuple):
    """One captured packet: when it passed, in seconds and nanoseconds, and its bytes."""

    seconds: int
    nanoseconds: int
    raw: bytes


def every_interface() -> socket.socket:
    """Return a packet socket for all interfaces of the calling thread's network namespace.

    Raises:
        PermissionError: CAP_NET_RAW is missing.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    return with_times(socket.socket(socket.AF_PACKET, kind, socket.htons(ETH_P_ALL)))


def with_times(sock: socket.socket) -> socket.socket:
    """Make the kernel tell when each packet of a packet socket passed."""
    sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
    return sock


def drained(sock: socket.socket) -> Iterator[Captured]:
    """Yield the IP packets in the queue of a packet socket, without link-layer headers.

    On ``lo`` the kernel shows each packet twice; only its arrival is kept.
    """
    while True:
        try:
            raw, notes, _, address = sock.recvmsg(_LONGEST, 64)
        except BlockingIOError:
            return
        times = [_TIME.unpack(data[: _TIME.size]) for _, kind, data in notes if kind == _TIMESTAMPS]
        repeated = address[0] == "lo" and address[2] == socket.PACKET_OUTGOING
        if address[1] in _IP and not repeated:
            seconds, nanoseconds = times[0] if times else (0, 0)
            yield Captured(seconds, nanoseconds, raw)


def pcap(packets: Iterable[Captured], at_most: int = 1 << 18) -> bytes:
    """Return packets as a file that Wireshark and tcpdump read.

    Args:
        packets: The packets.
        at_most: Bytes of the file; it contains no packet after those that fit.
    """
    found = bytearray(_FILE.pack(_MAGIC, 2, 4, 0, 0, _LONGEST, _RAW))
    for seconds, nanoseconds, raw in packets:
        if len(found) + _RECORD.size + len(raw) > at_most:
            break
        found += _RECORD.pack(seconds, nanoseconds, len(raw), len(raw)) + raw
    return bytes(found)
