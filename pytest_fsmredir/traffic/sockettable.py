"""Read the TCP sockets and the tracked connections of a network namespace from the kernel.

This reads and parses ``/proc/net/tcp``, ``/proc/net/tcp6`` (tcp4_seq_show,
linux/net/ipv4/tcp_ipv4.c) and ``/proc/net/nf_conntrack`` (ct_seq_show,
linux/net/netfilter/nf_conntrack_standalone.c). Every user can read the first two. The third exists
if the kernel was built with CONFIG_NF_CONNTRACK_PROCFS, and has mode 0440: user 0 or group 0 can
read it without a capability.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pytest_fsmredir.model.flow import Address

THREADS_OWN = Path("/proc/thread-self/net")
"""The tables of the calling thread's network namespace; ``/proc/net`` contains those of the first
thread's namespace."""

ByteOrder = Literal["little", "big"]

_MAPPED = b"\x00" * 10 + b"\xff\xff"  # RFC 4291, 2.5.5.2
_WORD = re.compile(r"(src|dst|sport|dport)=(\S+)")
_TUPLE = ("src", "dst", "sport", "dport")


class TcpState(IntEnum):
    """States of a TCP socket (linux/include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


_STATES = {f"{state:02X}": state for state in TcpState}

OPENING = {TcpState.SYN_RECV, TcpState.NEW_SYN_RECV}
LIVE = {TcpState.ESTABLISHED, TcpState.CLOSE_WAIT}
ENDING = {
    TcpState.FIN_WAIT1,
    TcpState.FIN_WAIT2,
    TcpState.TIME_WAIT,
    TcpState.LAST_ACK,
    TcpState.CLOSING,
}
"""States of sockets that their program has closed: such rows show user 0 and inode 0."""


class SocketRow(NamedTuple):
    """One TCP socket.

    Attributes:
        local: Its own address; IPv4-mapped addresses appear as IPv4.
        peer: The address of the other end.
        state: The state of the connection.
        uid: The owner.
        inode: The inode of its file; 0 if no program holds it: not accepted yet, or closed.
    """

    local: Address
    peer: Address
    state: TcpState
    uid: int
    inode: int


@dataclass(frozen=True, slots=True)
class TrackedFlow:
    """One entry of connection tracking.

    Attributes:
        source: The client, before translation.
        destination: The destination, before translation.
        arrived_at: The destination after translation: the source of the answers.
        seen_from: The client as the acceptor sees it: the destination of the answers.
        expires_s: Seconds until the entry expires if idle; None if the line does not contain it.
    """

    source: Address
    destination: Address
    arrived_at: Address
    seen_from: Address
    expires_s: int | None = None


@dataclass(frozen=True, slots=True)
class SocketTable:
    """The sockets and tracked connections of a network namespace at one moment.

    Attributes:
        rows: Its TCP sockets of both IP versions.
        conntrack: The text of ``nf_conntrack``; None if it is not readable.
    """

    rows: Sequence[SocketRow]
    conntrack: str | None = None

    @classmethod
    def read(cls, folder: Path = THREADS_OWN) -> Self:
        """Read the tables of a namespace."""
        rows = [
            row
            for name in ("tcp", "tcp6")
            if (text := _read(folder / name)) is not None
            for row in parse_sockets(text)
        ]
        # Read this last: the entry of a connection outlives its socket.
        return cls(rows, _read(folder / "nf_conntrack"))

    def tracked(self, source: Address, destination: Address) -> TrackedFlow | None:
        """Return the TCP connection that was opened from one address to another."""
        if self.conntrack is None:
            return None
        # Filter first: most lines belong to other connections, and parsing a line is slow.
        ports = f"sport={source.port} dport={destination.port} "
        lines = (line for line in self.conntrack.splitlines() if ports in line)
        wanted = (source, destination)
        return next(
            (each for each in parse_conntrack(lines) if (each.source, each.destination) == wanted),
            None,
        )


def parse_sockets(text: str, byteorder: ByteOrder = sys.byteorder) -> list[SocketRow]:
    """Return the rows of ``/proc/net/tcp`` or ``tcp6``.

    Args:
        text: The content of the file, including the heading.
        byteorder: The machine's byte order. The kernel prints an address as words in this order:
            127.0.0.1 is ``0100007F`` or ``7F000001``. It prints a port as a plain number.
    """
    rows = []
    for line in text.splitlines()[1:]:
        words = line.split()
        rows.append(
            SocketRow(
                _address(words[1], byteorder),
                _address(words[2], byteorder),
                _STATES[words[3]],
                int(words[7]),
                int(words[9]),
            )
        )
    return rows


def parse_conntrack(lines: Iterator[str] | Sequence[str]) -> Iterator[TrackedFlow]:
    """Yield the TCP connections in lines of ``/proc/net/nf_conntrack``.

    A line has its layers in words 1 and 3, then the tuple of the request and the tuple of the
    answers, with counters and flags in between.
    """
    for line in lines:
        words = line.split(maxsplit=5)
        if words[2:3] != ["tcp"]:
            continue
        found = _WORD.findall(line)
        if [name for name, _ in found] == [*_TUPLE, *_TUPLE]:
            ends = (_ends([value for _, value in half]) for half in (found[:4], found[4:]))
            expires = int(words[4]) if words[4].isdecimal() else None
            yield TrackedFlow(*next(ends), *next(ends), expires)


def _ends(words: Sequence[str]) -> tuple[Address, Address]:
    source, destination, sport, dport = words
    return Address(_canonical(source), int(sport)), Address(_canonical(destination), int(dport))


def _canonical(host: str) -> str:
    """Return an address in canonical form: this file contains all digits of IPv6 addresses."""
    if ":" not in host:
        return host
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))


@lru_cache(maxsize=8192)  # repeated reads find nearly the same addresses
def _address(text: str, byteorder: ByteOrder) -> Address:
    digits, port = text.split(":")
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    raw = b"".join(word.to_bytes(4, byteorder) for word in words)
    if raw[:12] == _MAPPED:
        raw = raw[12:]
    family = socket.AF_INET6 if len(raw) == 16 else socket.AF_INET
    return Address(socket.inet_ntop(family, raw), int(port, 16))


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:  # no IPv6, no such kernel option, or no permission
        return None
