"""Outbound capture: what becomes of the packets and the bytes of a captured connection."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from functools import partial

from pytest_fsmredir import MUST, SHOULD, Acceptor, Address, Mesh, Need, Profile, check

PASSED_ON = [Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN]
PATTERN = bytes(range(251))  # a prime length: a block that is shifted or doubled never looks right
MEBIBYTE = 1 << 20
EARLY = b"sent before the handshake was over"
SERVER_SPEAKS_FIRST = (21, 22, 25, 110, 143, 587, 3306)
APPLICATION_BYTES = (
    b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3",  # a TLS client hello begins like this
    b"\0\x1c\x12\x34\1\0\0\1\0\0\0\0\0\0\6server\0\0\1\0\1",  # DNS over TCP
    b"\0",
    bytes(range(256)),
)

WITHOUT_OPTIONS = (
    "cd /proc/sys/net/ipv4 && for it in timestamps sack window_scaling; do echo 0 >tcp_$it; done"
)
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
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
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


@check(
    "OUT-006",
    requirement="No packet of a captured connection MUST leave the pod, but those of the sidecar's"
    " onward connection.",
    spec="SPEC-1.3",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.TAP, Need.SIDECAR_CONTROL},
)
def test_captured_connection_stays_in_the_pod(mesh: Mesh) -> None:
    pod = mesh.pod()

    with pod.tap() as tap, pod.sidecar.forwarding():
        fate = pod.connect(mesh.server, 8006, source=Address(pod.address, 23006))
        packets = tap.packets()
    assert fate.captured_outbound
    onward = fate.path[-1].peer
    assert [packet.source for packet in packets if packet.opens] == [onward]
    assert not [packet for packet in packets if fate.client in (packet.source, packet.destination)]


@check(
    "OUT-007",
    requirement="Redirection MUST deliver one byte and many bytes unchanged, both ways.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_payload_passes_unchanged(mesh: Mesh) -> None:
    pod = mesh.pod()
    size = 8 * MEBIBYTE if mesh.exhaustive else MEBIBYTE
    payload = (PATTERN * (size // len(PATTERN) + 1))[:size]

    for passing_on in (nullcontext(), pod.sidecar.forwarding()):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            assert connection.exchange(b"1", mesh.timeout_s) == b"1"
            assert connection.exchange(payload, mesh.timeout_s) == payload, "damaged on its way"


@check(
    "OUT-008",
    requirement="A captured connection on which the server speaks first MUST work.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_server_may_speak_first(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in SERVER_SPEAKS_FIRST:
        assert pod.connect(mesh.server, port).captured_outbound
        with pod.sidecar.forwarding():
            fate = pod.connect(mesh.server, port)
        assert [hop.by for hop in fate.path] == PASSED_ON, fate
        assert fate.lost is None, fate


@check(
    "OUT-009",
    requirement="HTTP/1, HTTP/2, TLS, DNS over TCP and opaque bytes MUST be captured alike.",
    spec="SPEC-5.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_application_protocol_makes_no_difference(mesh: Mesh) -> None:
    pod = mesh.pod()

    for passing_on in (nullcontext(), pod.sidecar.forwarding()):
        with passing_on:
            for payload in APPLICATION_BYTES:
                with pod.open(mesh.server, 8080) as connection:
                    assert connection.fate.captured_outbound
                    assert connection.exchange(payload, mesh.timeout_s) == payload


@check(
    "OUT-010",
    requirement="A captured connection that the application half-closes MUST still deliver all that"
    " comes back.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_half_close_passes_the_redirection(mesh: Mesh) -> None:
    pod = mesh.pod()
    payload = PATTERN * 1000

    for passing_on in (nullcontext(), pod.sidecar.forwarding()):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            connection.send(payload)
            assert connection.finish(mesh.timeout_s), "the other side did not half-close"
            assert connection.received == payload, "what came after the half-close is damaged"


@check(
    "OUT-020",
    requirement="The reset of a captured connection MUST reach the other end, whichever end sends"
    " it.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL, Need.TAP},
)
def test_reset_passes_the_redirection(mesh: Mesh) -> None:
    pod = mesh.pod()

    with pod.open(mesh.server, 8080) as connection:
        assert connection.fate.captured_outbound
        with pod.sidecar.stopped():
            connection.exchange(b"?", mesh.timeout_s)
        assert connection.lost == "reset"
    with pod.sidecar.forwarding(), pod.tap() as tap:
        onward = pod.connect(mesh.server, 8080).path[-1].peer  # ends with a reset
        # A proxy may pass it on as a reset or as an orderly end.
        tap.expect("the end of the onward connection", lambda p: p.ends and p.source == onward)


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
    needs={Need.TAP},
)
def test_data_in_the_syn_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()
    early = partial(fast_open, Address(mesh.server.address, 8080))

    with pod.tap() as tap:
        assert pod.connect(mesh.server, 8080, uid=1500, prepare=early).direct
        assert [EARLY in packet.raw for packet in tap.packets() if packet.opens] == [True]
        fate = pod.connect(mesh.server, 8080, prepare=early)
    assert fate.captured_outbound


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
    needs={Need.FOREIGN_RULES, Need.KERNEL_SETTINGS},
)
def test_plain_syn_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod(fresh=True)
    done = pod.run(["/bin/sh", "-c", WITHOUT_OPTIONS])
    if done.status != 0:
        raise OSError(done.stderr)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct
