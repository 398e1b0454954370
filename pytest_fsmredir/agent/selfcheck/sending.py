"""Send flows, and find out where they arrive."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import NamedTuple

from pytest_fsmredir.agent.selfcheck.eyes import Listeners, Tables, Taken, new_socket
from pytest_fsmredir.agent.selfcheck.flows import (
    DIRECT,
    HOPS,
    INBOUND,
    INBOUND_PORT,
    OUTBOUND,
    OUTBOUND_PORT,
    REMOTE,
    Flow,
)
from pytest_fsmredir.agent.selfcheck.pod import Pod, carried, plain

LOST, NOISY, UNCLEAR = "lost", "hidden", "unclear"
_PING = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_ECHO = {4: b"\x08" + bytes(7), 6: b"\x80" + bytes(7)}
_TRIES, _SOURCE_PORTS = 3, 20


class Seen(NamedTuple):
    """The fate of a flow, and what shows it."""

    fate: str
    words: str
    is_certain: bool = False


class Sender:
    """Sends one flow at a time. A packet to another host gets no further than the node."""

    def __init__(self, eyes: Listeners | Tables, pod: Pod, timeout_s: float) -> None:
        self._eyes, self._pod, self._timeout_s = eyes, pod, timeout_s
        self._leaving: dict[int, bool] = {}
        self._used: set[int] = set()

    def can_leave(self, family: int) -> bool:
        """Whether packets leave the pod: whether its gateway has a known hardware address.

        Packets wait for that address, so a lost one is no news before the gateway has answered.
        """
        if family not in self._leaving:
            flow = Flow("", REMOTE[family][1], 9, "UDP")
            fates = [self._send(flow).fate for _ in range(_TRIES)]
            self._leaving[family] = fates[-2:] == [DIRECT, DIRECT]
        return self._leaving[family]

    def send(self, flow: Flow, wanted: str) -> Seen:
        """Send a flow, again if the traffic of others hides its fate."""
        seen = self._send(flow)
        for _ in range(_TRIES - 1):
            if seen.fate != NOISY:
                break
            seen = self._send(flow)
        # What the sidecar has to get needs no other host.
        return self._doubted(flow, seen) if wanted == DIRECT else seen

    def _send(self, flow: Flow) -> Seen:
        try:
            with closing(self._socket(flow)) as sock:
                for option in ((*HOPS[ip_address(flow.host).version], 1), *flow.options):
                    sock.setsockopt(*option)
                seen = self._connected(flow, sock) if flow.protocol == "TCP" else _sent(flow, sock)
        except OSError as why:
            return Seen(UNCLEAR, str(why.strerror))
        return seen

    def _socket(self, flow: Flow) -> socket.socket:
        """Return a socket with a source port of its own.

        The kernel may give connections to two hosts the same port. Redirected to one listener, they
        would be the same connection, and the second one would get another source port.
        """
        family = ip_address(flow.host).version
        if flow.protocol != "TCP":
            protocol = _PING[family] if flow.protocol == "ICMP" else 0
            return new_socket(family, socket.SOCK_DGRAM, protocol)
        for tries_left in reversed(range(_SOURCE_PORTS)):
            sock = new_socket(family, socket.SOCK_STREAM)
            try:
                sock.bind(("", flow.source_port))
            except OSError:
                sock.close()
                raise
            port = sock.getsockname()[1]
            if flow.source_port or port not in self._used or not tries_left:
                self._used.add(port)
                return sock
            sock.close()
        raise AssertionError  # the last try returns

    def _doubted(self, flow: Flow, seen: Seen) -> Seen:
        """Return that nothing was seen if the packet may wait for a hardware address."""
        route = self._pod.route_to(flow.host)
        if seen.fate != LOST or seen.is_certain or route is None:
            return seen
        if route.has_gateway and self.can_leave(route.network.version):
            return seen
        return Seen(UNCLEAR, f"{seen.words}; the next host may not answer")

    def _connected(self, flow: Flow, sock: socket.socket) -> Seen:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        before = carried()
        status = sock.connect_ex((flow.host, flow.port))
        if status not in (0, errno.EINPROGRESS):
            return Seen(LOST, os.strerror(status))
        source = plain(sock.getsockname())
        end, ended, status = time.monotonic() + self._timeout_s, False, 0
        while True:
            taken = self._eyes.taken(source)
            if taken is not None:
                return self._judged(flow, taken, sock)
            raised = _raised(before)
            if raised and "lo" not in raised:
                return Seen(DIRECT, _carrier(raised))
            if status or time.monotonic() > end:
                return _without_taker(raised, status, accepted=ended and not status)
            ready = _wait([] if ended else [sock.fileno()], self._eyes.descriptors, 0.02)
            if not ended and sock.fileno() in ready:
                ended, status = True, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _judged(self, flow: Flow, taken: Taken, sock: socket.socket) -> Seen:
        words = f"port {taken.port} of the pod accepted it"
        dialled = (flow.host, flow.port)
        if isinstance(self._eyes, Listeners):
            if taken.destination != dialled:
                return Seen(LOST, f"{words} as a flow to {_text(taken.destination)}", True)
            if not _wait([], [sock.fileno()], self._timeout_s):
                return Seen(LOST, f"{words}, and its bytes are lost", True)
        if taken.port == OUTBOUND_PORT:
            return Seen(OUTBOUND, words)
        if taken.port == INBOUND_PORT:
            return Seen(INBOUND, words)
        inside = self._pod.is_inside(flow.host) and taken.destination == dialled
        return Seen(DIRECT if inside else LOST, words, True)


def _sent(flow: Flow, sock: socket.socket) -> Seen:
    """Send one packet of another protocol, and return which interface carried it."""
    before = carried()
    ping = flow.protocol == "ICMP"
    with suppress(OSError):
        sock.sendto(
            _ECHO[ip_address(flow.host).version] if ping else b"selfcheck", (flow.host, flow.port)
        )
    raised = _raised(before)
    return Seen(_fate_of(raised), _carrier(raised), raised == ["lo"])


def _raised(before: Mapping[str, int]) -> list[str]:
    return [name for name, count in carried().items() if count > before.get(name, 0)]


def _fate_of(raised: Sequence[str]) -> str:
    if len(raised) > 1 and "lo" in raised:
        return NOISY
    return DIRECT if raised and "lo" not in raised else LOST


def _carrier(raised: Sequence[str]) -> str:
    outside = " and ".join(name for name in raised if name != "lo")
    if "lo" in raised:
        return (
            f"it stayed in the pod or left it by {outside}" if outside else "it stayed in the pod"
        )
    return f"it left the pod by {outside}" if outside else "no interface carried it"


def _without_taker(raised: Sequence[str], status: int, *, accepted: bool) -> Seen:
    if accepted:  # connection tracking still has an old flow with that port, and chose another
        return Seen(NOISY, "it was accepted under another source port or address")
    if status == errno.EHOSTUNREACH and len(raised) > 1:
        return Seen(DIRECT, "a router outside the pod answered")
    end = os.strerror(status) if status else "no socket of the pod accepted it"
    return Seen(_fate_of(raised), f"{_carrier(raised)}; {end}")


def _wait(writable: Sequence[int], readable: Sequence[int], limit_s: float) -> list[int]:
    """Wait until a descriptor is ready, and return those that are."""
    poll = select.poll()
    for descriptor in writable:
        poll.register(descriptor, select.POLLOUT)
    for descriptor in readable:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(limit_s * 1000)]


def _text(end: Sequence[object]) -> str:
    host, port = end
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
