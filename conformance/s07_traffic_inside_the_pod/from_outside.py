"""Connections from outside to loopback addresses of the pod."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fsmredir import (
    Address,
    Feature,
    ForgedPackets,
    Mesh,
    Pod,
    Profile,
    Section,
    Taps,
    forge,
)
from pytest_fsmredir.model.vocabulary import SEED_PORTS, SERVED_PORTS

section = Section(7, Profile.CORE, families=(4,))

CLOSED = 20031  # a port of the pod on which nothing listens
FIRST_PORT = 20041  # of the clients


def assert_silent(pod: Pod, taps: Taps, forged: ForgedPackets, local: Sequence[Address]) -> None:
    """Send SYNs from outside to addresses of 127.0.0.0/8, then one that the sidecar answers."""
    host, own = forged.silent_address(), Address(pod.address, CLOSED)
    with taps.of(pod) as tap:
        for number, destination in enumerate((*local, own)):
            source = Address(host, FIRST_PORT + number)
            forged.deliver(tap, forge.tcp(source, destination, forge.SYN, seq=1))
        answer = tap.expect("an answer", lambda packet: packet.destination.host == host)
        forged.deliver(tap, forge.tcp(source, own, forge.RST, seq=2))
        assert answer.source == own, f"{answer.source} answered a SYN from outside"


@section.check("LO-020", "7.7")
def test_loopback_is_closed_to_the_outside(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A connection from outside to 127.0.0.0/8 MUST NOT reach a reserved port that answers for
    itself, or any port past the sidecar."""
    pod = mesh.pod()
    closed, client = Address("127.0.0.1", CLOSED), Address(forged.silent_address(), FIRST_PORT - 1)
    own = Address(pod.address, CLOSED)

    assert_silent(pod, taps, forged, [Address("127.0.0.1", port) for port in SERVED_PORTS])
    assert_silent(
        pod, taps, forged, [Address(host, 15904) for host in ("127.0.0.2", "127.255.255.254")]
    )
    with taps.of(pod) as tap:
        for destination in (closed, own):
            forged.deliver(tap, forge.tcp(client, destination, forge.SYN, seq=1))
        answer = tap.expect("an answer", lambda packet: packet.destination == client)
        for destination in (closed, own):
            forged.deliver(tap, forge.tcp(client, destination, forge.RST, seq=2))
        assert not answer.ends, f"{answer.source} refused a SYN from outside"


@section.check(
    "LO-021", "7.7", profile=Profile.EXCLUSIONS, features={Feature.INBOUND_PORT_EXCLUSION}
)
def test_excluded_port_on_loopback_is_closed_to_the_outside(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A connection from outside to 127.0.0.0/8 MUST NOT reach an application on an excluded
    inbound port."""
    pod = mesh.pod(annotations=SEED_PORTS)
    pod.listen(7070, host="127.0.0.1")

    assert mesh.client.connect(pod, 6379).direct
    assert_silent(pod, taps, forged, [Address("127.0.0.1", port) for port in (6379, 7070)])
