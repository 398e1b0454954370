"""Protocols: traffic that only a packet made by hand, or a look at the link, can judge."""

from __future__ import annotations

import random
import socket

from pytest_fsmredir import (
    INFO,
    MUST,
    SHOULD,
    Address,
    ForgedPackets,
    Mesh,
    Profile,
    Sidecars,
    Taps,
    check,
    forge,
)

SMALL_MTU = 1280
BULK = bytes(range(256)) * 1024
TO_EVERYBODY = {
    4: ("224.0.0.251", "239.255.0.1", "255.255.255.255"),
    6: ("ff05::fb", "ff0e::1:2:3"),
}


def expire_at_the_first_hop(sock: socket.socket) -> None:
    """Send what a traceroute sends first."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)


def sample_of_ports(step: int) -> list[int]:
    """Return a port of each group of so many, always the same one."""
    choose = random.Random(2026)  # noqa: S311 - to be spread, not to be secret
    return [choose.randrange(low, min(low + step, 1 << 16)) for low in range(1, 1 << 16, step)]


@check(
    "PROTO-006",
    requirement="A path MTU message about the sidecar's own connection SHOULD reach the pod and be"
    " honoured, while the captured connection goes on.",
    spec="SPEC-5.4",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_path_mtu_message_is_honoured(
    mesh: Mesh, sidecars: Sidecars, taps: Taps, forged: ForgedPackets
) -> None:
    pod = mesh.pod(fresh=True)

    with sidecars.forwarding(pod), taps.of(pod) as tap, pod.open(mesh.server, 8080) as connection:
        assert connection.fate.captured_outbound
        upstream = tap.expect(
            "the sidecar's connection", lambda packet: packet.destination.port == 8080
        )
        acknowledged = tap.expect(
            "its next packet", lambda packet: packet.source == upstream.source
        )
        forged.inject(mesh.client, forge.too_big(mesh.client.address, acknowledged, SMALL_MTU))
        assert pod.datagram(mesh.server, 8080, payload=bytes(1400)).direct
        tap.expect(
            f"the datagram in fragments of {SMALL_MTU} bytes at most",
            lambda packet: (
                packet.source.host == pod.address
                and packet.source.port != upstream.source.port
                and SMALL_MTU - 16 < len(packet.raw) <= SMALL_MTU
            ),
        )
        assert connection.echoes(BULK, mesh.timeout_s)


@check(
    "PROTO-020",
    requirement="A UDP datagram MUST leave and enter the pod untouched whatever port it goes to,"
    " seen in a sample of all ports.",
    spec="SPEC-5.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_udp_is_left_alone_on_every_port(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    pod = mesh.pod()
    source = Address(pod.address, 20020)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    with taps.of(pod) as tap:
        for port in sample_of_ports(16 if mesh.exhaustive else 1311):
            packet = forge.udp(source, Address(mesh.server.address, port), b"to any port")
            forged.inject(pod, packet)
            tap.expect_unchanged("the datagram", packet)
            assert mesh.client.datagram(pod, port).direct


@check(
    "PROTO-010",
    requirement="A multicast or broadcast datagram SHOULD leave the pod untouched.",
    spec="SPEC-5.4",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_multicast_and_broadcast_leave_the_pod(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    pod = mesh.pod()
    source = Address(pod.address, 20010)

    assert pod.connect(mesh.server, 5353).captured_outbound
    with taps.of(pod) as tap:
        for group in TO_EVERYBODY[mesh.family]:
            for port in (5353, 15001):
                packet = forge.udp(source, Address(group, port), b"to everybody")
                forged.inject(pod, packet)
                tap.expect_unchanged("the datagram", packet)


@check(
    "PROTO-011",
    requirement="A traceroute over TCP MAY be answered by the sidecar, one over UDP going its way.",
    spec="SPEC-5.5",
    level=INFO,
    profile=Profile.CORE,
)
def test_traceroute_over_tcp_ends_at_the_sidecar(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    pod = mesh.pod()
    source, target = Address(pod.address, 20011), Address(mesh.server.address, 33434)

    assert pod.connect(mesh.server, target.port, prepare=expire_at_the_first_hop).captured_outbound
    with taps.of(pod) as tap:
        probe = forge.udp(source, target, b"probe", hops=1)
        forged.inject(pod, probe)
        tap.expect_unchanged("the UDP probe", probe)
