"""What a stream carries through the redirection."""

from __future__ import annotations

from contextlib import nullcontext

from pytest_fsmredir import Acceptor, Address, Mesh, Need, Profile, Section, Sidecars, Taps

section = Section(1, Profile.CORE)

PATTERN = bytes(range(251))  # a prime length: a block that is shifted or doubled never looks right
MEBIBYTE = 1 << 20
SERVER_SPEAKS_FIRST = (21, 22, 25, 110, 143, 587, 3306)
PAYLOAD = bytes(range(251)) * 2000
URGENT, AFTERWARDS = b"!", b"what comes behind urgent data"


@section.check("OUT-006", "1.3")
def test_captured_connection_stays_in_the_pod(mesh: Mesh, sidecars: Sidecars, taps: Taps) -> None:
    """A packet of a captured connection MUST NOT leave the pod; only the sidecar's onward
    connection does."""
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


@section.check("OUT-007", "1.5")
def test_payload_passes_unchanged(mesh: Mesh, sidecars: Sidecars) -> None:
    """Redirection MUST deliver one byte and many bytes unchanged, both ways."""
    pod = mesh.pod()
    size = 32 * MEBIBYTE if mesh.exhaustive else MEBIBYTE
    payload = (PATTERN * (size // len(PATTERN) + 1))[:size]

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            assert connection.echoes(b"1", mesh.timeout_s)
            assert connection.echoes(payload, mesh.timeout_s)


@section.check("OUT-008", "1.5")
def test_server_may_speak_first(mesh: Mesh, sidecars: Sidecars) -> None:
    """A captured connection on which the server speaks first MUST work."""
    pod = mesh.pod()

    for port in SERVER_SPEAKS_FIRST:
        assert pod.connect(mesh.server, port).captured_outbound
        with sidecars.forwarding(pod):
            fate = pod.connect(mesh.server, port)
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


@section.check("OUT-010", "1.5")
def test_half_close_passes_the_redirection(mesh: Mesh, sidecars: Sidecars) -> None:
    """A captured connection that the application half-closes MUST still deliver all that comes
    back."""
    pod = mesh.pod()
    payload = PATTERN * 1000

    for passing_on in (nullcontext(), sidecars.forwarding(pod)):
        with passing_on, pod.open(mesh.server, 8080) as connection:
            assert connection.fate.captured_outbound
            connection.send(payload)
            assert connection.half_closes(mesh.timeout_s)
            assert connection.has_received(payload)


@section.check("OUT-020", "1.5")
def test_reset_passes_the_redirection(mesh: Mesh, sidecars: Sidecars, taps: Taps) -> None:
    """The reset of a captured connection MUST reach the other end, whichever end sends it."""
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


@section.check("IN-014", "1.5")
def test_inbound_payload_passes_unchanged(mesh: Mesh, sidecars: Sidecars) -> None:
    """Redirection MUST deliver what a client sends and gets back unchanged, half-close
    included."""
    pod = mesh.pod()

    with sidecars.forwarding(pod), mesh.client.open(pod, 8080) as connection:
        assert connection.fate.captured_inbound
        connection.send(PAYLOAD)
        assert connection.half_closes(mesh.timeout_s)
        assert connection.has_received(PAYLOAD)


@section.check("OUT-023", "1.5", needs={Need.ANSWERING_SIDECAR})
def test_urgent_data_passes_the_redirection(mesh: Mesh) -> None:
    """Urgent data of a connection MUST arrive, and what is sent behind it: captured outbound,
    captured inbound, or direct."""
    pod = mesh.pod()

    with (
        pod.open(mesh.server, 8080) as outbound,
        mesh.client.open(pod, 8080) as inbound,
        pod.open(mesh.server, 8080, uid=1500) as direct,
    ):
        assert outbound.fate_by_banner.captured_outbound
        assert inbound.fate_by_banner.captured_inbound
        assert direct.fate_by_banner.direct
        for connection in (outbound, inbound, direct):
            connection.send(URGENT, urgent=True)
            connection.send(AFTERWARDS)
            assert connection.half_closes(mesh.timeout_s)
            assert connection.has_received(URGENT + AFTERWARDS)
