"""Outbound capture: which connections of the application the sidecar gets."""

from __future__ import annotations

from contextlib import ExitStack

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Acceptor,
    Address,
    Mesh,
    Need,
    Profile,
    SecondInterface,
    Sidecars,
    check,
)


@check(
    "OUT-001",
    requirement="TCP from the application to a remote address MUST reach the sidecar's outbound"
    " listener.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_remote_address_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "OUT-003",
    requirement="An outbound connection MUST pass the sidecar's outbound listener and none of its"
    " others, whatever port it names.",
    spec="SPEC-3.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_outbound_connection_passes_the_outbound_listener_alone(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for port in (80, 15001, 15003, 15010):
            fate = pod.connect(mesh.server, port)
            assert fate.captured_outbound
            assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


@check(
    "OUT-005",
    requirement="The sidecar MUST learn the address and the port that each of several simultaneous"
    " connections had dialled.",
    spec="SPEC-1.4",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.REMOTE_ADDRESSES},
)
def test_original_destinations_are_told_apart(mesh: Mesh) -> None:
    pod = mesh.pod()
    hosts = [str(mesh.subnet(0)[1]), str(mesh.subnet(0)[2]), str(mesh.subnet(1)[1])]

    with ExitStack() as held:
        for host in hosts:
            for port in (80, 81):
                connection = held.enter_context(pod.open(host, port))
                assert connection.fate_by_banner.captured_outbound


@check(
    "OUT-013",
    requirement="Simultaneous connections of several users to one destination MUST all be"
    " captured.",
    spec="SPEC-4.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_connections_of_several_users_are_captured_together(mesh: Mesh) -> None:
    pod = mesh.pod()

    with ExitStack() as held:
        for uid in (0, 1000, 1001, 1337, 1499, 1501):
            connection = held.enter_context(pod.open(mesh.server, 8080, uid=uid))
            assert connection.fate_by_banner.captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "OUT-014",
    requirement="A connection that the application binds to an address and port of its pod MUST be"
    " captured.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_bound_connection_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in (0, 80, 1023, 1500, 15002, 23456, 65535):
        assert pod.connect(mesh.server, 8080, source=Address(pod.address, port)).captured_outbound


@check(
    "OUT-015",
    requirement="A connection to the pod's own node SHOULD be captured, once.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_connection_to_the_node_is_captured_once(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(mesh.node, 8015)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


@check(
    "OUT-017",
    requirement="A call from one pod to another MUST pass the outbound listener of the first, the"
    " inbound listener of the second and then reach the application, each once.",
    spec="SPEC-4.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_call_to_another_pod_passes_both_sidecars(mesh: Mesh, sidecars: Sidecars) -> None:
    here, there = mesh.pod(), mesh.pod(fresh=True)

    with sidecars.forwarding(here), sidecars.forwarding(there):
        fate = here.connect(there, 8080)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
        assert fate.forwarded_to(Address(there.address, 8080))


@check(
    "OUT-018",
    requirement="Outbound capture MUST hold whichever of the pod's addresses a connection comes"
    " from.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_connection_from_a_second_address_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod()

    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        assert pod.connect(mesh.server, 8080, source=Address(address, 0)).captured_outbound


@check(
    "OUT-019",
    requirement="Outbound capture MUST hold whichever of the pod's interfaces leads to the"
    " destination.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_connection_through_a_second_interface_is_captured(
    mesh: Mesh, second: SecondInterface
) -> None:
    pod = second.pod()
    beyond = second.remote_address()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.connect(beyond, 8080, interface="net1", uid=1500).direct
