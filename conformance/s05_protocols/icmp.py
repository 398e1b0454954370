"""ICMP, which passes untouched."""

from __future__ import annotations

from pytest_fsmredir import (
    Address,
    ForgedPackets,
    Mesh,
    Profile,
    SecondInterface,
    Section,
    Taps,
    forge,
)
from pytest_fsmredir.model.vocabulary import CLOSED_PORT

section = Section(5, Profile.CORE)

IN_A_ROW = 12  # more than the burst of 5 that a limit lets pass by default (iptables-extensions)
PINGING = (0, 1000, 1500)
PAYLOADS = (bytes(48), bytes(1392))  # 56 bytes with the 8 of the request, as ping(8), and 1400
ERRORS = {
    4: {
        "net unreachable": (3, 0),
        "host unreachable": (3, 1),
        "communication administratively prohibited": (3, 13),
        "time to live exceeded": (11, 0),
        "parameter problem": (12, 0),
    },
    6: {
        "no route to destination": (1, 0),
        "communication administratively prohibited": (1, 1),
        "address unreachable": (1, 3),
        "hop limit exceeded": (3, 0),
        "parameter problem": (4, 0),
    },
}


@section.check("PROTO-004", "5.3")
def test_ping_is_direct_both_ways(mesh: Mesh) -> None:
    """An ICMP echo request MUST be answered by the host it was sent to, out of the pod and into
    it, each of many in a row, for every sender and every length."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for n in range(IN_A_ROW):
        uid, payload = PINGING[n % len(PINGING)], PAYLOADS[n % len(PAYLOADS)]
        assert pod.ping(mesh.server, uid=uid, payload=payload).direct
        assert mesh.client.ping(pod, payload=payload).direct


@section.check("PROTO-015", "5.3")
def test_ping_inside_the_pod_is_direct(mesh: Mesh) -> None:
    """An ICMP echo request inside the pod, to loopback or to the pod's own address, MUST be
    answered."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for own in (mesh.loopback(), pod.address):
        assert pod.ping(own).direct


@section.check("PROTO-016", "5.3")
def test_ping_is_direct_on_every_interface(mesh: Mesh, second: SecondInterface) -> None:
    """An ICMP echo request MUST be answered by the host it was sent to over every interface of the
    pod, out of it and into it."""
    pod = second.pod()
    beyond = second.remote_address()

    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.ping(beyond).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    for own in (second.address(pod), second.interface_address(pod)):
        assert mesh.client.ping(own).direct


@section.check("PROTO-005", "5.3")
def test_port_unreachable_comes_back(mesh: Mesh) -> None:
    """The ICMP error about a datagram to a closed port MUST come back to its sender, out of the
    pod and into it."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, CLOSED_PORT).captured_outbound
    assert pod.datagram(mesh.server, 8080).direct
    assert pod.datagram(mesh.server, CLOSED_PORT, answer=False).refused
    assert mesh.client.datagram(pod, 8080).direct
    assert mesh.client.datagram(pod, CLOSED_PORT, answer=False).refused


@section.check("PROTO-017", "5.3")
def test_every_icmp_error_reaches_the_application(mesh: Mesh, forged: ForgedPackets) -> None:
    """An ICMP error about a datagram of the application MUST reach the application, whatever error
    it is."""
    pod = mesh.pod()
    router = mesh.client.address

    assert pod.connect(mesh.server, 8080).captured_outbound
    with forged.corresponding(pod, mesh.server, 8080) as application:
        assert application.fate.direct
        for what, (kind, code) in ERRORS[mesh.family].items():
            forged.inject(mesh.client, forge.icmp_error(router, application.datagram, kind, code))
            application.expect_error(what, kind, code)


@section.check("PROTO-018", "5.3")
def test_every_icmp_error_leaves_the_pod(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """An ICMP error about a datagram to the pod MUST leave the pod as it was sent, whatever error
    it is."""
    pod = mesh.pod()
    client = Address(mesh.client.address, 20018)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.datagram(pod, 8080, source=client).direct
    datagram = forge.udp(client, Address(pod.address, 8080), b"")
    with taps.of(pod) as tap:
        for what, (kind, code) in ERRORS[mesh.family].items():
            error = forge.icmp_error(pod.address, datagram, kind, code)
            forged.inject(pod, error, uid=0)
            tap.expect(f"the ICMP error {what!r} as it was sent", error.matches)
