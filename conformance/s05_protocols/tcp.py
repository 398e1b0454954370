"""Application protocols over TCP, and a TCP traceroute."""

from __future__ import annotations

import socket
from contextlib import nullcontext

from pytest_fsmredir import Address, ForgedPackets, Mesh, Profile, Section, Sidecars, Taps, forge

section = Section(5, Profile.CORE)

APPLICATION_BYTES = (
    b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3",  # a TLS client hello begins like this
    b"\0\x1c\x12\x34\1\0\0\1\0\0\0\0\0\0\6server\0\0\1\0\1",  # DNS over TCP
    b"\0",
    bytes(range(256)),
)


def expire_at_the_first_hop(sock: socket.socket) -> None:
    """Send what a traceroute sends first."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)


@section.check("OUT-009", "5.1")
def test_application_protocol_makes_no_difference(mesh: Mesh, sidecars: Sidecars) -> None:
    """HTTP/1, HTTP/2, TLS, DNS over TCP and opaque bytes MUST be captured alike."""
    pod = mesh.pod()

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on:
            for payload in APPLICATION_BYTES:
                with pod.open(mesh.server, 8080) as connection:
                    assert connection.fate.captured_outbound
                    assert connection.echoes(payload, mesh.timeout_s)


@section.check("PROTO-011", "5.5")
def test_traceroute_over_tcp_ends_at_the_sidecar(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A traceroute over TCP MAY be answered by the sidecar, one over UDP going its way."""
    pod = mesh.pod()
    source, target = Address(pod.address, 20011), Address(mesh.server.address, 33434)

    assert pod.connect(mesh.server, target.port, prepare=expire_at_the_first_hop).captured_outbound
    with taps.of(pod) as tap:
        probe = forge.udp(source, target, b"probe", hops=1)
        forged.inject(pod, probe)
        tap.expect_unchanged("the UDP probe", probe)
