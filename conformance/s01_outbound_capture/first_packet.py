"""The first packet of an outbound connection, with one field at a time unlike the usual one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from pytest_fsmredir import (
    Address,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Profile,
    Section,
    Taps,
    syns,
    with_ip_options,
    with_unusual_header,
)
from pytest_fsmredir.model.vocabulary import CLOSED_PORT

section = Section(1, Profile.CORE)

FIRST_PORT, SIDECARS_FIRST_PORT = 21000, 23000
HOP_LIMITS = (8, 32, 63, 65, 127, 128, 129, 254, 255)
SERVICES = range(0, 256, 4)  # every DSCP (RFC 2474)
SEGMENT_SIZES, BUFFERS = (88, 536, 1220, 1400, 8960), (2304, 65536, 1 << 20)
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_AUTOFLOWLABEL = 10, 23, 70  # linux/in.h, linux/in6.h
EARLY = b"sent before the handshake was over"
COMMON_OPTIONS = ("ipv4/tcp_timestamps", "ipv4/tcp_sack", "ipv4/tcp_window_scaling")
TCP_FASTOPEN_NO_COOKIE = 34  # linux/tcp.h


def with_option(level: int, option: int, value: int, sock: socket.socket) -> None:
    """Set an option of the socket."""
    sock.setsockopt(level, option, value)


def options_of_sockets(family: int) -> Iterator[tuple[int, int, int]]:
    """Yield level, option and value of what changes one field of a SYN."""
    if family == 4:
        level, hop_limit, service = socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS
        yield from ((level, IP_MTU_DISCOVER, how) for how in (0, 2, 3))
    else:
        level, hop_limit = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
        service = socket.IPV6_TCLASS
        yield from ((level, IPV6_MTU_DISCOVER, 3), (level, IPV6_AUTOFLOWLABEL, 0))
    yield from ((level, hop_limit, hops) for hops in HOP_LIMITS)
    yield from ((level, service, byte) for byte in SERVICES)
    yield from ((socket.IPPROTO_TCP, socket.TCP_MAXSEG, size) for size in SEGMENT_SIZES)
    yield from ((socket.SOL_SOCKET, socket.SO_RCVBUF, size) for size in BUFFERS)


def send_as_both(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, made: Mapping[str, syns.Make]
) -> None:
    """Send SYNs as the application and as the sidecar, and see the sidecar's alone leave."""
    pod, server = mesh.pod(), Address(mesh.server.address, CLOSED_PORT)
    assert pod.connect(mesh.server, 8080).captured_outbound
    with taps.of(pod) as tap:
        for number, (name, make) in enumerate(made.items()):
            application = Address(pod.address, FIRST_PORT + number)
            sent = make(Address(pod.address, SIDECARS_FIRST_PORT + number), server)
            forged.inject(pod, make(application, server))
            forged.inject(pod, sent, uid=1500)
            left = tap.expect(
                f"the sidecar's SYN {name}",
                lambda packet: packet.opens and packet.destination == server,
            )
            assert left.source != application, f"a SYN of the application {name} left the pod"
            assert left.source == sent.source, f"the SYN that left is not the sidecar's {name}"


def fast_open(to: Address, sock: socket.socket) -> None:
    """Send the SYN with data in it."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
    sock.sendto(EARLY, socket.MSG_FASTOPEN, tuple(to))


def unusual_options(sock: socket.socket) -> None:
    """Make the SYN's options and service class others than everybody's."""
    with_unusual_header(536, sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@contextmanager
def unless_switched_off() -> Iterator[None]:
    """Leave the block early in a pod without fast open: no SYN with data can come out of it."""
    try:
        yield
    except OSError as why:
        if why.errno != errno.EOPNOTSUPP:
            raise


@section.check("OUT-024", "1.7")
def test_socket_options_make_no_difference(mesh: Mesh) -> None:
    """A connection of the application MUST be captured, and one of UID 1500 MUST be direct,
    whatever hop limit, service class, segment size or window it has, and whether it may be
    fragmented or not."""
    pod = mesh.pod()
    prepared = [partial(with_option, *each) for each in options_of_sockets(mesh.family)]

    for prepare in prepared:
        assert pod.connect(mesh.server, 8080, prepare=prepare).captured_outbound
    for prepare in prepared if mesh.exhaustive else prepared[::4]:  # OUT-025 sends all as 1500
        assert pod.connect(mesh.server, 8080, prepare=prepare, uid=1500).direct


@section.check("OUT-026", "1.7")
def test_connection_with_ecn_is_captured(mesh: Mesh, kernel: KernelSettings) -> None:
    """A connection that asks for ECN MUST be captured, and be direct from UID 1500."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    with kernel.changed(pod, {"ipv4/tcp_ecn": "1"}):  # of both IP versions
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert pod.connect(mesh.loopback(), 8080).direct


@section.check("OUT-025", "1.7")
def test_header_of_the_syn_makes_no_difference(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A SYN of the application MUST NOT leave the pod, and one of UID 1500 MUST leave, whichever
    field of its header is unlike the usual one."""
    send_as_both(mesh, taps, forged, syns.variations(mesh.family))


@section.check("OUT-027", "1.6")
def test_unusual_flags_of_the_syn_do_not_leak(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A SYN of the application SHOULD NOT leave the pod for a flag that no SYN usually has."""
    send_as_both(mesh, taps, forged, syns.UNUSUAL)


@section.check("OUT-011", "1.6")
def test_unusual_tcp_options_are_captured(mesh: Mesh) -> None:
    """A connection with unusual options in its SYN SHOULD be captured."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, prepare=unusual_options).captured_outbound
    assert pod.connect(mesh.server, 8080, prepare=unusual_options, uid=1500).direct


@section.check("OUT-021", "1.6")
def test_data_in_the_syn_is_captured(mesh: Mesh, taps: Taps) -> None:
    """A connection with data in its SYN (TCP fast open) SHOULD be captured."""
    pod = mesh.pod()
    early = partial(fast_open, Address(mesh.server.address, 8080))

    assert pod.connect(mesh.server, 8080).captured_outbound
    with taps.of(pod) as tap, unless_switched_off():
        assert pod.connect(mesh.server, 8080, uid=1500, prepare=early).direct
        opened = [packet for packet in tap.packets() if packet.opens]
        assert EARLY in opened[0].raw, "the SYN that left the pod carries no data"
        assert pod.connect(mesh.server, 8080, prepare=early).captured_outbound


@section.check("OUT-012", "1.6")
def test_ip_options_do_not_leak(mesh: Mesh) -> None:
    """A connection with IP options SHOULD be captured or refused, and never be direct."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    fate = pod.connect(mesh.server, 8080, prepare=with_ip_options)
    assert fate.captured_outbound or fate.unanswered


@section.check("OUT-022", "1.6")
def test_plain_syn_is_captured(mesh: Mesh, kernel: KernelSettings) -> None:
    """A connection whose SYN lacks common options SHOULD be captured."""
    pod = mesh.pod()

    for lacking in (COMMON_OPTIONS, *((option,) for option in COMMON_OPTIONS)):
        with kernel.changed(pod, dict.fromkeys(lacking, "0")):
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert pod.connect(mesh.server, 8080, uid=1500).direct
