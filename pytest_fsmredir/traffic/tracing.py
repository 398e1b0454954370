"""Trace packets through the rules of a network namespace: ask the kernel which rules they match.

A separate nft table marks packets to be traced. The mark belongs to the packet, so rules of
nft and of both variants of iptables report to the same socket: nft rules by the multicast group
for traces, rules of legacy iptables by the packet log of netfilter.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from pytest_fsmredir.traffic.netlink import CREATE, attribute, attributes, message, messages

LOGGER: Final = "nfnetlink_log"
"""The kernel module that sends logged packets by netlink."""

_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 270, 1  # linux/netlink.h
_NFTABLES, _ULOG, _TRACE_GROUP = 10, 4, 9  # linux/netfilter/nfnetlink.h
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE, _GET_RULE, _TRACE = 0, 2, 3, 6, 7, 17
_ERROR, _DONE, _ACK, _DUMP, _APPEND = 2, 3, 0x4, 0x300, 0x800
_FAMILIES: Final = {1: "inet", socket.AF_INET: "ip", socket.AF_INET6: "ip6"}
_TABLE: Final = "fsmredir-trace"
_BEFORE_ALL: Final = -450  # linux/netfilter_ipv4.h: defragmentation, the first user, has -400
_HOOKS: Final = {0: "incoming", 3: "outgoing"}  # linux/netfilter.h
_SYN, _FLAGS_AT = b"\x02", 13
_TCP: Final = b"\x06"
_LOGGED: Final = 96  # bytes of a packet: the IP header and the ports
_LARGEST, _BUFFER = 65536, 1 << 22


class TracedRule(NamedTuple):
    """A rule that a packet matched, as the kernel names it.

    Attributes:
        variant: ``nft``, also for iptables rules of that variant; or ``legacy``.
        family: ``ip``, ``ip6`` or ``inet``: the family of its table.
        table: Its table.
        chain: Its chain.
        number: Its place in the chain, from 1.
    """

    variant: str
    family: str
    table: str
    chain: str
    number: int


class Tracer:
    """Reports the rules that the first packets of flows match in the namespace of its thread.

    A first packet is a TCP packet with SYN, or any packet of another protocol.
    """

    def __init__(self) -> None:
        """Begin to trace.

        Raises:
            OSError: The kernel refuses.
        """
        self._dropped = False
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        try:
            self._sock.bind((0, 0))
            # The kernel lowers it to its limit without an error (net.core.rmem_max).
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._places = dict(self._numbered())
            self._sock.send(_marking())
            self._require_accepted("trace packets")
            self._sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACE_GROUP)
        except BaseException:
            self._sock.close()
            raise

    def read_log(self) -> None:
        """Also report the rules of legacy iptables, if the namespace logs by :data:`LOGGER`.

        Raises:
            OSError: The kernel refuses, for example because another program reads the log.
        """
        settings = (
            attribute(1, b"\x01"),  # NFULA_CFG_CMD: bind
            attribute(2, struct.pack("!IBx", _LOGGED, 2)),  # NFULA_CFG_MODE: copy the packet
            attribute(5, struct.pack("!I", 1)),  # NFULA_CFG_QTHRESH: send each one at once
        )
        for setting in settings:
            self._sock.send(_request(_ULOG, 1, _ACK, socket.AF_UNSPEC, setting))
            self._require_accepted("log packets")

    def rules(self, protocol: int, transport: bytes) -> frozenset[TracedRule] | None:
        """Return the rules that packets matched since the last call.

        None if the kernel dropped reports, because too many waited.

        Args:
            protocol: Only packets of this protocol.
            transport: Only packets whose transport header begins with these bytes.
        """
        found = self.matched(protocol, transport)
        return None if found is None else frozenset(found)

    def matched(self, protocol: int, transport: bytes = b"") -> list[TracedRule] | None:
        """Return the same rules in the order of the kernel's reports."""
        self._dropped = False
        found = list(self._matched(protocol, transport))
        return None if self._dropped else found

    def close(self) -> None:
        """End the trace."""
        with self._sock:
            self._sock.send(_batch(_request(_NFTABLES, _DELETE_TABLE, 0, 1, _text(1, _TABLE))))

    def _matched(self, protocol: int, transport: bytes) -> Iterator[TracedRule]:
        ours = False
        for kind, body in self._waiting():
            if kind == _NFTABLES << 8 | _TRACE:
                found = attributes(body, 4, 1, 2, 3, 8, 9)
                # The report of the first rule of a base chain contains the packet's headers.
                if 9 in found:
                    ours = _protocol(found.get(8, b"")) == protocol
                    ours = ours and found[9].startswith(transport)
                place = _place(body[0], found)
                if ours and place in self._places:
                    yield TracedRule("nft", *place[:3], self._places[place])
            elif kind == _ULOG << 8:
                found = attributes(body, 4, 9, 10)
                packet = found.get(9, b"")
                of_protocol = _protocol(packet) == protocol
                if of_protocol and packet[_length(packet) :].startswith(transport):
                    yield from _logged(body[0], found.get(10, b""))

    def _waiting(self) -> Iterator[tuple[int, bytes]]:
        while True:
            try:
                data = self._sock.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as why:
                if why.errno != errno.ENOBUFS:
                    raise
                self._dropped = True
                continue
            for kind, _, body in messages(data):
                yield kind, body

    def _numbered(self) -> Iterator[tuple[tuple[str, str, str, bytes], int]]:
        """Yield family, table, chain and handle of each nft rule, and its place in its chain."""
        self._sock.send(_request(_NFTABLES, _GET_RULE, _DUMP, socket.AF_UNSPEC))
        counts: dict[tuple[str, str, str], int] = {}
        while True:
            for kind, _, body in messages(self._sock.recv(_LARGEST)):
                if kind in {_DONE, _ERROR}:
                    if code := -struct.unpack_from("=i", body)[0]:
                        raise OSError(code, f"the kernel could not list rules: {os.strerror(code)}")
                    return
                place = _place(body[0], attributes(body, 4, 1, 2, 3))
                counts[place[:3]] = counts.get(place[:3], 0) + 1
                yield place, counts[place[:3]]

    def _require_accepted(self, what: str) -> None:
        for kind, body in self._waiting():
            code = -struct.unpack_from("=i", body)[0] if kind == _ERROR else 0
            if code:
                raise OSError(code, f"the kernel could not {what}: {os.strerror(code)}")


def _place(family: int, found: dict[int, bytes]) -> tuple[str, str, str, bytes]:
    table, chain = (found.get(n, b"").rstrip(b"\0").decode(errors="replace") for n in (1, 2))
    return _FAMILIES.get(family, str(family)), table, chain, found.get(3, b"")


def _protocol(packet: bytes) -> int | None:
    """Return the protocol in an IP header; None without a header."""
    at = 6 if packet[:1] >= b"\x60" else 9
    return packet[at] if len(packet) > at else None


def _length(packet: bytes) -> int:
    """Return the length of a packet's IP header, without extension headers."""
    return 40 if packet[:1] >= b"\x60" else (packet[0] & 15) * 4 if packet else 0


def _logged(family: int, prefix: bytes) -> Iterator[TracedRule]:
    """Yield the rule that ``TRACE: TABLE:CHAIN:rule:NUMBER`` names (ip_tables.c: trace_packet).

    The number after the last rule stands for the end of the chain.
    """
    text = prefix.rstrip(b"\0 ").decode(errors="replace")
    if text.startswith("TRACE: "):
        table, _, rest = text.removeprefix("TRACE: ").partition(":")
        chain, _, number = rest.rsplit(":", 2)
        yield TracedRule("legacy", _FAMILIES[family], table, chain, int(number))


def _marking() -> bytes:
    """Return the requests that make the table which marks packets."""
    yes = _expression("immediate", _number(1, 8), _nested(2, attribute(1, b"\x01")))
    mark = yes + _expression("meta", _number(2, 12), _number(3, 8))  # NFT_META_NFTRACE
    protocol = _expression("meta", _number(1, 8), _number(2, 16))  # NFT_META_L4PROTO
    flags = _expression(
        "payload", _number(1, 8), _number(2, 2), _number(3, _FLAGS_AT), _number(4, 1)
    )
    masked = _expression(
        "bitwise", _number(1, 8), _number(2, 8), _number(3, 1),
        _nested(4, attribute(1, _SYN)), _nested(5, attribute(1, b"\0")),
    )  # fmt: skip
    opening = protocol + _compared(_TCP) + flags + masked + _compared(_SYN) + mark
    others = protocol + _compared(_TCP, equal=False) + mark
    requests = [_request(_NFTABLES, _NEW_TABLE, CREATE, 1, _text(1, _TABLE))]
    for hook, name in _HOOKS.items():
        place = _number(1, hook) + _number(2, _BEFORE_ALL & 0xFFFFFFFF)
        chain = _text(1, _TABLE) + _text(3, name) + _nested(4, place) + _text(7, "filter")
        requests.append(_request(_NFTABLES, _NEW_CHAIN, CREATE, 1, chain))
        for expressions in (opening, others):
            rule = _text(1, _TABLE) + _text(2, name) + _nested(4, expressions)
            requests.append(_request(_NFTABLES, _NEW_RULE, CREATE | _APPEND, 1, rule))
    return _batch(*requests)


def _compared(value: bytes, *, equal: bool = True) -> bytes:
    data = _nested(3, attribute(1, value))
    return _expression("cmp", _number(1, 8), _number(2, 0 if equal else 1), data)


def _expression(name: str, *parts: bytes) -> bytes:
    return _nested(1, _text(1, name) + _nested(2, b"".join(parts)))


def _batch(*requests: bytes) -> bytes:
    begin, end = (
        message(kind, 0, 0, struct.pack("!BBH", socket.AF_UNSPEC, 0, _NFTABLES))
        for kind in (_BATCH_BEGIN, _BATCH_END)
    )
    return b"".join([begin, *requests, end])


def _request(subsystem: int, kind: int, flags: int, family: int, body: bytes = b"") -> bytes:
    return message(subsystem << 8 | kind, flags, 0, struct.pack("!BBH", family, 0, 0) + body)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _nested(kind: int, data: bytes) -> bytes:
    return attribute(kind | 0x8000, data)
