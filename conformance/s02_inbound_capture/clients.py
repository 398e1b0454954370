"""Inbound capture for every client, whatever its address, its port and its first packet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pytest_fsmredir import (
    SHOULD,
    Acceptor,
    Address,
    Direction,
    Fate,
    Flow,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Need,
    Profile,
    SearchTools,
    SecondInterface,
    Section,
    Taps,
    forge,
    search_pod,
    syns,
    translate,
    with_ip_options,
    with_unusual_header,
)
from pytest_fsmredir.model.vocabulary import (
    CLOSED_PORT,
    FIRST_OCTETS,
    RESERVED_PORTS,
)

section = Section(2, Profile.CORE)

# Private, shared, link-local and reserved ranges, those that clusters use themselves, addresses
# from which Istio's ambient mode probes, and public ones.
CLIENTS = {
    4: (
        "1.1.1.1", "8.8.8.8", "10.0.0.1", "10.96.0.1", "10.171.63.200", "10.244.0.1", "35.180.1.2",
        "100.64.0.1", "126.255.255.254", "128.0.0.1", "146.75.34.133", "169.254.7.127",
        "168.63.129.16", "169.254.1.1", "169.254.20.10", "169.254.169.254",
        "172.16.0.1", "172.31.255.254", "192.0.2.77", "192.88.99.1",
        "192.168.0.1", "198.18.0.1", "203.0.113.77", "204.79.197.200", "223.255.255.254",
        "240.0.0.1", "255.255.255.254",
    ),
    6: (
        "2001:4860:4860::8888", "2606:4700::1111", "fd00:10:96::1", "fd00:10:244::1",
        "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", "fdff:ffff::1", "64:ff9b::808:808", "3fff::1",
        "::2",
    ),
}  # fmt: skip
FIRST_PORT, SIDECARS_FIRST_PORT = 21000, 23000


def send_from_outside(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, made: Mapping[str, syns.Make], *, answered: bool
) -> None:
    """Send SYNs to a closed port of the pod: an answer that is not a refusal is the sidecar's.

    Args:
        mesh: Of the check.
        taps: Show the answers.
        forged: Send the SYNs.
        made: What makes the SYNs.
        answered: Each has to be answered; else it may be dropped, and a usual one follows it.
    """
    pod = mesh.pod()
    closed = Address(pod.address, CLOSED_PORT)
    with taps.of(pod) as tap:
        for number, (name, make) in enumerate(made.items()):
            client = Address(forged.silent_address(), FIRST_PORT + number)
            sent = [make(client, closed)]
            if not answered:
                follower = client._replace(port=SIDECARS_FIRST_PORT + number)
                sent.append(syns.unlike()(follower, closed))
            for packet in sent:
                forged.inject(mesh.client, packet)
            answer = tap.expect(f"an answer to a SYN {name}", lambda each: each.source == closed)
            for packet in sent:
                end = forge.tcp(packet.source, closed, forge.RST, seq=packet.seq + 1)
                forged.inject(mesh.client, end)
            fate = Fate(Flow(Direction.INBOUND, closed), client, (), "refused")
            assert not answer.ends or fate.captured_inbound, f"a SYN {name}"


@section.check("IN-008", "2.1")
def test_connection_through_a_node_port_is_captured(mesh: Mesh, programs: ForeignPrograms) -> None:
    """A connection whose destination was translated on its way to the pod MUST be captured at the
    port that it arrives at."""
    pod, node = mesh.pod(), mesh.bare_pod()
    pod.listen(8080)
    translate(programs, node, Address(pod.address, 8080), 30080)

    fate = mesh.client.connect(node, 30080, answer=False)
    assert fate.captured_inbound_as(Address(pod.address, 8080))
    assert fate.passed(Acceptor.SIDECAR_INBOUND)


@section.check("IN-015", "2.6")
def test_unusual_tcp_options_of_a_client_are_captured(mesh: Mesh) -> None:
    """An inbound connection with unusual options in its SYN SHOULD be captured."""
    pod, unusual = mesh.pod(), partial(with_unusual_header, 216)

    assert mesh.client.connect(pod, 8080, prepare=unusual).captured_inbound
    assert mesh.client.connect(pod, 15904, prepare=unusual).reached(Acceptor.HEALTH)


@section.check("IN-016", "2.1")
def test_port_of_the_client_makes_no_difference(mesh: Mesh) -> None:
    """A client's own port MUST NOT decide about inbound capture, the numbers that FSM reserves
    included."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 15904).reached(Acceptor.HEALTH)
    for port in RESERVED_PORTS:
        source = Address(mesh.client.address, port)
        assert mesh.client.connect(pod, 8080, source=source).captured_inbound


@section.check("IN-017", "2.1", needs={Need.CLIENT_ADDRESSES})
def test_address_of_the_client_makes_no_difference(mesh: Mesh) -> None:
    """Inbound capture MUST hold for clients at private, link-local and public addresses alike."""
    pod = mesh.pod()
    clients = [Address(host, 0) for host in CLIENTS[mesh.family]]
    if mesh.exhaustive and mesh.family == 4:
        clients += [Address(f"{first}.201.2.3", 0) for first in FIRST_OCTETS]

    for source in clients:
        assert mesh.client.connect(pod, 8080, source=source).captured_inbound
    if mesh.family == 4:
        source = Address("0.0.0.1", 0)  # Linux before 5.3 takes nothing from there
        if mesh.client.connect(pod, 15904, source=source).reached(Acceptor.HEALTH):
            assert mesh.client.connect(pod, 8080, source=source).captured_inbound


@section.check("IN-018", "2.7")
def test_header_of_a_clients_syn_makes_no_difference(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A connection from outside MUST be captured whichever field of its SYN's header is unlike the
    usual one."""
    send_from_outside(mesh, taps, forged, syns.variations(mesh.family), answered=True)


@section.check("IN-019", "2.6")
def test_unusual_flags_of_a_clients_syn_do_not_leak(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A connection from outside SHOULD NOT reach the application uncaptured for a flag of its SYN
    that no SYN usually has; it may be dropped."""
    send_from_outside(mesh, taps, forged, syns.UNUSUAL, answered=False)


@section.check("IN-020", "2.6")
def test_ip_options_of_a_client_do_not_leak(mesh: Mesh) -> None:
    """A connection from outside with IP options SHOULD be captured or refused, and never be
    direct."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    fate = mesh.client.connect(pod, 8080, prepare=with_ip_options)
    assert fate.captured_inbound or fate.unanswered


@section.check("ALL-012", "2.4", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_of_two_interfaces_is_treated_as_recommended(
    mesh: Mesh,
    tools: SearchTools,
    second: SecondInterface,
) -> None:
    """In a pod with two interfaces and several addresses, every connection to another address than
    the first one SHOULD be captured inbound."""
    assert search_pod(mesh, tools, SHOULD, {}, second).agrees
