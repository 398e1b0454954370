"""Inbound capture: which connections from outside the sidecar gets."""

from __future__ import annotations

import random

from pytest_fsmredir import (
    Acceptor,
    Address,
    Feature,
    Mesh,
    Profile,
    Route,
    SecondInterface,
    Section,
    Sidecars,
    ports_to_judge,
)
from pytest_fsmredir.model.vocabulary import (
    AROUND_SEED_PORTS,
    NEAR_SEED_PORTS,
    OFTEN_SPARED_PORTS,
    PORTS_OF_OTHER_MESHES,
    RESERVED_PORTS,
    SEED_INBOUND_PORTS,
)

section = Section(2, Profile.CORE)

# 1500, 15002 and 15005 are numbers near FSM's own; 15900 and 15905 border on its health ports;
# other meshes leave the rest, or some of it, to themselves.
PORTS = (
    1, 22, 53, 80, 179, 443, 1500, 3306, 6060, 6443, 8080, 9090, 9901, 10250, 14999, 15002, 15004,
    15005,
)  # fmt: skip
HIGH_PORTS = (
    15006, 15009, 15011, 15014, 15020, 15021, 15090, 15900, 15905, 27017, 32767, 32768, 61000,
    65535,
)  # fmt: skip
SOME_PORTS = random.Random(2).sample(range(1, 65536), 150)  # noqa: S311 - no secret
NEIGHBOURS = (14999, 15002, 15004, 15009, 15011, 15900, 15905)


@section.check("IN-001", "2.1")
def test_connection_from_outside_is_captured(mesh: Mesh) -> None:
    """TCP from outside to a port of the pod MUST reach the sidecar's inbound listener."""
    pod = mesh.pod()

    for place in (mesh.client, mesh.server, mesh.node):
        assert place.connect(pod, 8080).captured_inbound


@section.check("IN-002", "2.2")
def test_every_port_of_the_pod_is_captured(mesh: Mesh) -> None:
    """Inbound capture MUST hold for every port that is neither reserved nor excluded."""
    sample = {*PORTS, *HIGH_PORTS, *PORTS_OF_OTHER_MESHES, *OFTEN_SPARED_PORTS, *SOME_PORTS}
    pod = mesh.pod()
    ports = ports_to_judge(mesh, mesh.client, Route.SIDECAR_INBOUND, pod, sample)

    for fate in mesh.client.connect_all(pod, sorted({*ports} - {*RESERVED_PORTS})):
        assert fate.captured_inbound


@section.check("IN-004", "2.2")
def test_capture_does_not_depend_on_a_listener(mesh: Mesh) -> None:
    """Inbound capture MUST hold whether or not an application listens on the port."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8084, answer=False).captured_inbound
    with pod.listening(8084):
        assert mesh.client.connect(pod, 8084).captured_inbound
    with pod.listening(8084, host=pod.address):
        assert mesh.client.connect(pod, 8084).captured_inbound
    with pod.listening(8084, host=mesh.loopback()):
        assert mesh.client.connect(pod, 8084, answer=False).captured_inbound


@section.check("IN-006", "2.3")
def test_sidecar_sees_the_real_client(mesh: Mesh) -> None:
    """The sidecar MUST see the client's own address and port on an inbound connection."""
    pod = mesh.pod()

    for place in (mesh.client, mesh.server, mesh.node):
        for port in (1023, 1500, 15001, 15003, 29006):
            source = Address(place.address, port)
            fate = place.connect(pod, 8080, source=source)
            assert fate.captured_inbound
            assert fate.came_from(source)


@section.check("IN-007", "2.1")
def test_application_sees_nothing_directly(mesh: Mesh) -> None:
    """The application MUST NOT see any connection from outside but those that the sidecar passes
    on, when no port is excluded."""
    pod = mesh.pod()
    pod.listen(8087, uid=0)
    pod.listen(8088, host=pod.address)
    places = (mesh.client, mesh.server, mesh.node)
    outside = {place.address for place in places}
    before = len(pod.acceptances())

    for place in places:
        assert place.connect(pod, 8087).captured_inbound
        assert place.connect(pod, 8088).captured_inbound
    from_outside = [each for each in pod.acceptances()[before:] if each.peer.host in outside]
    others = [str(each) for each in from_outside if each.by is not Acceptor.SIDECAR_INBOUND]
    assert not others, f"listeners other than the sidecar's accepted too: {', '.join(others)}"


@section.check("IN-009", "2.4")
def test_second_address_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    """A connection to a further address on the pod's interface SHOULD be captured, that address
    being its original destination."""
    pod = second.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(second.address(pod), 8080).captured_inbound


@section.check("IN-010", "2.4")
def test_second_interface_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    """A connection to an address on a second interface of the pod SHOULD be captured, that address
    being its original destination."""
    pod = second.pod()
    address = second.interface_address(pod)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(address, 8080, interface="net1").captured_inbound


@section.check("RES-009", "2.2")
def test_neighbours_of_reserved_ports_are_captured(mesh: Mesh) -> None:
    """The neighbours of reserved ports MUST be captured."""
    pod = mesh.pod()

    for port in NEIGHBOURS:
        assert mesh.client.connect(pod, port).captured_inbound


@section.check(
    "IPX-010", "2.2", profile=Profile.EXCLUSIONS, features={Feature.INBOUND_PORT_EXCLUSION}
)
def test_inbound_ports_not_listed_stay_captured(mesh: Mesh) -> None:
    """An inbound port that is not listed MUST stay captured, also if it lies between or next to
    listed ones or shares digits with them."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)
    unlisted = AROUND_SEED_PORTS if mesh.exhaustive else NEAR_SEED_PORTS

    assert mesh.client.connect(pod, 7070).direct
    for fate in mesh.client.connect_all(pod, unlisted):
        assert fate.captured_inbound


@section.check("IN-013", "2.5")
def test_localhost_only_application_is_not_exposed(mesh: Mesh, sidecars: Sidecars) -> None:
    """An application that listens on localhost only MAY be reachable from outside through the
    sidecar."""
    pod = mesh.pod()
    pod.listen(8093, host=mesh.loopback())

    with sidecars.forwarding(pod):
        fate = mesh.client.connect(pod, 8093, answer=False)
    assert fate.captured_inbound
    assert fate.avoided(Acceptor.ORIGIN)
