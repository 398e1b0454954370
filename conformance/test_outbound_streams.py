"""Outbound capture: the packets and the bytes of a captured connection."""

from __future__ import annotations

from contextlib import nullcontext

from pytest_fsmredir import MUST, Acceptor, Address, Mesh, Profile, Sidecars, Taps, check

PASSED_ON = [Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN]
PATTERN = bytes(range(251))  # a prime length: a block that is shifted or doubled never looks right
MEBIBYTE = 1 << 20
SERVER_SPEAKS_FIRST = (21, 22, 25, 110, 143, 587, 3306)
APPLICATION_BYTES = (
    b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3",  # a TLS client hello begins like this
    b"\0\x1c\x12\x34\1\0\0\1\0\0\0\0\0\0\6server\0\0\1\0\1",  # DNS over TCP
    b"\0",
    bytes(range(256)),
)


@check(
    "OUT-006",
    requirement="No packet of a captured connection MUST leave the pod, but those of the sidecar's"
    " onward connection.",
    spec="SPEC-1.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_captured_connection_stays_in_the_pod(mesh: Mesh, sidecars: Sidecars, taps: Taps) -> None:
    pod = mesh.pod()

    with taps.of(pod) as tap, sidecars.forwarding(pod):
        fate = pod.connect(mesh.server, 8006, source=Address(pod.address, 23006))
        packets = tap.packets()
    assert fate.captured_outbound
    onward = fate.path[-1].peer
    opened = [packet.source for packet in packets if packet.opens]
    assert opened == [onward], f"connections left the pod from {opened}, not from {onward} alone"
    own = [packet for packet in packets if fate.client in (packet.source, packet.destination)]
    assert not own, f"{len(own)} packets of the captured connection passed the pod's link"


@check(
    "OUT-007",
    requirement="Redirection MUST deliver one byte and many bytes unchanged, both ways.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_payload_passes_unchanged(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()
    size = 32 * MEBIBYTE if mesh.exhaustive else MEBIBYTE
    payload = (PATTERN * (size // len(PATTERN) + 1))[:size]

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            assert connection.echoes(b"1", mesh.timeout_s)
            assert connection.echoes(payload, mesh.timeout_s)


@check(
    "OUT-008",
    requirement="A captured connection on which the server speaks first MUST work.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_server_may_speak_first(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    for port in SERVER_SPEAKS_FIRST:
        assert pod.connect(mesh.server, port).captured_outbound
        with sidecars.forwarding(pod):
            fate = pod.connect(mesh.server, port)
        assert fate.passed(*PASSED_ON)


@check(
    "OUT-009",
    requirement="HTTP/1, HTTP/2, TLS, DNS over TCP and opaque bytes MUST be captured alike.",
    spec="SPEC-5.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_application_protocol_makes_no_difference(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on:
            for payload in APPLICATION_BYTES:
                with pod.open(mesh.server, 8080) as connection:
                    assert connection.fate.captured_outbound
                    assert connection.echoes(payload, mesh.timeout_s)


@check(
    "OUT-010",
    requirement="A captured connection that the application half-closes MUST still deliver all that"
    " comes back.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_half_close_passes_the_redirection(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()
    payload = PATTERN * 1000

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            connection.send(payload)
            assert connection.half_closes(mesh.timeout_s)
            assert connection.has_received(payload)


@check(
    "OUT-020",
    requirement="The reset of a captured connection MUST reach the other end, whichever end sends"
    " it.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_reset_passes_the_redirection(mesh: Mesh, sidecars: Sidecars, taps: Taps) -> None:
    pod = mesh.pod()

    with pod.open(mesh.server, 8080) as connection:
        assert connection.fate.captured_outbound
        with sidecars.stopped(pod):
            connection.exchange(b"?", mesh.timeout_s)
        assert connection.lost == "reset", f"expected a reset; the client saw: {connection.lost}"
    with sidecars.forwarding(pod), taps.of(pod) as tap:
        onward = pod.connect(mesh.server, 8080).path[-1].peer  # ends with a reset
        # A proxy may pass it on as a reset or as an orderly end.
        tap.expect("the end of the onward connection", lambda p: p.ends and p.source == onward)
