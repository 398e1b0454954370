"""Outbound capture of connections that begin unlike everybody's."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pytest_fsmredir import SHOULD, Address, KernelSettings, Mesh, Profile, Taps, check

EARLY = b"sent before the handshake was over"
COMMON_OPTIONS = ("ipv4/tcp_timestamps", "ipv4/tcp_sack", "ipv4/tcp_window_scaling")
TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE = 30, 34  # linux/tcp.h
RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])  # RFC 791: room for one address, end of options
PADDING = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # RFC 8200: a destination options header of nothing


def fast_open(to: Address, sock: socket.socket) -> None:
    """Send the SYN with data in it."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
    sock.sendto(EARLY, socket.MSG_FASTOPEN, tuple(to))


def unusual_options(sock: socket.socket) -> None:
    """Make the SYN's options and service class others than everybody's."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    except OSError as why:  # the pod's kernel may have fast open switched off
        if why.errno != errno.EOPNOTSUPP:
            raise
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)


def ip_options(sock: socket.socket) -> None:
    """Put options into the IP header."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, PADDING)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE)


@contextmanager
def unless_switched_off() -> Iterator[None]:
    """Leave the block early in a pod without fast open: no SYN with data can come out of it."""
    try:
        yield
    except OSError as why:
        if why.errno != errno.EOPNOTSUPP:
            raise


@check(
    "OUT-011",
    requirement="A connection with unusual options in its SYN SHOULD be captured.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_unusual_tcp_options_are_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, prepare=unusual_options).captured_outbound
    assert pod.connect(mesh.server, 8080, prepare=unusual_options, uid=1500).direct


@check(
    "OUT-021",
    requirement="A connection with data in its SYN (TCP fast open) SHOULD be captured.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_data_in_the_syn_is_captured(mesh: Mesh, taps: Taps) -> None:
    pod = mesh.pod()
    early = partial(fast_open, Address(mesh.server.address, 8080))

    assert pod.connect(mesh.server, 8080).captured_outbound
    with taps.of(pod) as tap, unless_switched_off():
        assert pod.connect(mesh.server, 8080, uid=1500, prepare=early).direct
        opened = [packet for packet in tap.packets() if packet.opens]
        assert EARLY in opened[0].raw, "the SYN that left the pod carries no data"
        assert pod.connect(mesh.server, 8080, prepare=early).captured_outbound


@check(
    "OUT-012",
    requirement="A connection with IP options SHOULD be captured or refused, and never be direct.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_ip_options_do_not_leak(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    fate = pod.connect(mesh.server, 8080, prepare=ip_options)
    assert fate.captured_outbound or fate.unanswered


@check(
    "OUT-022",
    requirement="A connection whose SYN lacks common options SHOULD be captured.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_plain_syn_is_captured(mesh: Mesh, kernel: KernelSettings) -> None:
    pod = mesh.pod()

    for lacking in (COMMON_OPTIONS, *((option,) for option in COMMON_OPTIONS)):
        with kernel.changed(pod, dict.fromkeys(lacking, "0")):
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert pod.connect(mesh.server, 8080, uid=1500).direct
