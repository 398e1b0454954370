"""Rarer traffic: fragments, multicast, path MTU messages, marks."""

from __future__ import annotations

import re

from pytest_fsmredir import (
    Address,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Need,
    Pod,
    Profile,
    Section,
    Sidecars,
    Taps,
    forge,
    marked,
)
from pytest_fsmredir.model.vocabulary import MARKS

section = Section(5, Profile.CORE)

SMALL_MTU = 1280
BULK = bytes(range(256)) * 1024
TO_EVERYBODY = {
    4: ("224.0.0.251", "239.255.0.1", "255.255.255.255"),
    6: ("ff05::fb", "ff0e::1:2:3"),
}


def delivered_inside(pod: Pod, programs: ForeignPrograms, remote: str) -> set[int]:
    """Return the marks with which the routes keep a remote address in the pod, as for TPROXY."""
    questions = "".join(f"route get {remote} from {pod.address} mark {mark}\n" for mark in MARKS)
    done = programs.run(pod, ["ip", "-oneline", "-force", "-batch", "-"], questions)
    failed = {int(number) for number in re.findall(r"-:([0-9]+)", done.stderr)}
    answered = [mark for number, mark in enumerate(MARKS, 1) if number not in failed]
    routes = zip(answered, done.stdout.splitlines(), strict=True)
    return {mark for mark, route in routes if route.startswith("local ")}


@section.check("PROTO-006", "5.4")
def test_path_mtu_message_is_honoured(
    mesh: Mesh, sidecars: Sidecars, taps: Taps, forged: ForgedPackets
) -> None:
    """A path MTU message about the sidecar's own connection SHOULD reach the pod and be honoured,
    while the captured connection goes on."""
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


@section.check("PROTO-010", "5.4")
def test_multicast_and_broadcast_leave_the_pod(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A multicast or broadcast datagram SHOULD leave the pod untouched."""
    pod = mesh.pod()
    source = Address(pod.address, 20010)

    assert pod.connect(mesh.server, 5353).captured_outbound
    with taps.of(pod) as tap:
        for group in TO_EVERYBODY[mesh.family]:
            for port in (5353, 15001):
                packet = forge.udp(source, Address(group, port), b"to everybody")
                forged.inject(pod, packet)
                tap.expect_unchanged("the datagram", packet)


@section.check("PROTO-022", "5.6", needs={Need.KERNEL_SETTINGS})
def test_mark_does_not_lose_traffic(mesh: Mesh, programs: ForeignPrograms) -> None:
    """A mark SHOULD NOT lose a datagram or a connection, unless the pod's routes deliver that mark
    inside the pod."""
    pod = mesh.pod()
    kept = delivered_inside(pod, programs, mesh.server.address)

    assert pod.datagram(mesh.server, 8080).direct
    for mark in sorted({*MARKS} - kept):
        assert pod.connect(mesh.server, 8080, prepare=marked(mark)).captured_outbound
        assert pod.datagram(mesh.server, 8080, prepare=marked(mark)).direct
