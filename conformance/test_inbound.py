"""Inbound capture: which connections from outside the sidecar gets."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import ExitStack

from pytest_fsmredir import MUST, SHOULD, Acceptor, Address, Mesh, Profile, SecondInterface, check

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
# What Linkerd, Consul, Kuma, Istio, OSM and Pipy's own admin service reserve for themselves.
FOREIGN_PORTS = (
    4140, 4143, 4190, 4191, 5676, 5678, 5681, 6060, 6061, 8300, 8500, 8501, 8502, 9901, 9902,
    15004, 15008, 15053, 15090, 15128, 15129, 20000, 20100, 20200, 21500, 21502,
)  # fmt: skip
# Databases, caches, queues, agents and node ports that rule sets were seen to spare.
SPARED_PORTS = (111, 2379, 5671, 8126, 9092, 9200, 15020, 27017, 30080, 61001)
SOME_PORTS = random.Random(2).sample(range(1, 65536), 150)  # noqa: S311 - no secret
NEVER_CAPTURED = {15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904}


@check(
    "IN-001",
    requirement="TCP from outside to a port of the pod MUST reach the sidecar's inbound listener.",
    spec="SPEC-2.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_connection_from_outside_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    for place in (mesh.client, mesh.server, mesh.node):
        assert place.connect(pod, 8080).captured_inbound


@check(
    "IN-002",
    requirement="Inbound capture MUST hold for every port that is neither reserved nor excluded.",
    spec="SPEC-2.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_every_port_of_the_pod_is_captured(mesh: Mesh) -> None:
    sample = {*PORTS, *HIGH_PORTS, *FOREIGN_PORTS, *SPARED_PORTS, *SOME_PORTS}
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(sample)
    tried = (port for port in ports if port not in NEVER_CAPTURED)

    for fate in mesh.client.connect_all(mesh.pod(), tried):
        assert fate.captured_inbound


@check(
    "IN-004",
    requirement="Inbound capture MUST hold whether or not an application listens on the port.",
    spec="SPEC-2.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_capture_does_not_depend_on_a_listener(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8084, answer=False).captured_inbound
    with pod.listening(8084):
        assert mesh.client.connect(pod, 8084).captured_inbound
    with pod.listening(8084, host=pod.address):
        assert mesh.client.connect(pod, 8084).captured_inbound
    with pod.listening(8084, host=mesh.loopback()):
        assert mesh.client.connect(pod, 8084, answer=False).captured_inbound


@check(
    "IN-005",
    requirement="The sidecar MUST learn the pod address and the port that each of several"
    " simultaneous connections had dialled.",
    spec="SPEC-1.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_dialled_ports_are_told_apart(mesh: Mesh) -> None:
    pod = mesh.pod()

    with ExitStack() as held:
        for place in (mesh.client, mesh.server):
            for port in (80, 81, 8080):
                connection = held.enter_context(place.open(pod, port))
                assert connection.fate_by_banner.captured_inbound


@check(
    "IN-006",
    requirement="The sidecar MUST see the client's own address and port on an inbound connection.",
    spec="SPEC-2.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_sees_the_real_client(mesh: Mesh) -> None:
    pod = mesh.pod()

    for place in (mesh.client, mesh.server, mesh.node):
        for port in (1023, 1500, 15001, 15003, 29006):
            source = Address(place.address, port)
            fate = place.connect(pod, 8080, source=source)
            assert fate.captured_inbound
            assert fate.came_from(source)


@check(
    "IN-007",
    requirement="The application MUST NOT see any connection from outside but those that the"
    " sidecar passes on, when no port is excluded.",
    spec="SPEC-2.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_application_sees_nothing_directly(mesh: Mesh) -> None:
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


@check(
    "IN-009",
    requirement="A connection to a further address on the pod's interface SHOULD be captured, that"
    " address being its original destination.",
    spec="SPEC-2.4",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_second_address_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(second.address(pod), 8080).captured_inbound


@check(
    "IN-010",
    requirement="A connection to an address on a second interface of the pod SHOULD be captured,"
    " that address being its original destination.",
    spec="SPEC-2.4",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_second_interface_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod()
    address = second.interface_address(pod)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(address, 8080, interface="net1").captured_inbound


@check(
    "IN-011",
    requirement="Each of hundreds of connections open at once MUST be captured and answered.",
    spec="SPEC-15.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_many_connections_at_once_are_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    with ExitStack() as held:
        for _ in range(mesh.crowd):
            connection = held.enter_context(mesh.client.open(pod, 8080))
            assert connection.fate_by_banner.captured_inbound
