"""Outbound capture of plain connections."""

from __future__ import annotations

from contextlib import ExitStack

from pytest_fsmredir import (
    MUST,
    Acceptor,
    Address,
    Mesh,
    Need,
    Profile,
    SearchTools,
    SecondInterface,
    Section,
    Sidecars,
    Workloads,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import PEER

section = Section(1, Profile.CORE)


@section.check("OUT-001", "1.1")
def test_remote_address_is_captured(mesh: Mesh) -> None:
    """TCP from the application to a remote address MUST reach the sidecar's outbound listener."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct


@section.check("OUT-005", "1.4", needs={Need.REMOTE_ADDRESSES})
def test_original_destinations_are_told_apart(mesh: Mesh) -> None:
    """The sidecar MUST learn the address and the port that each of several simultaneous
    connections had dialled."""
    pod = mesh.pod()
    hosts = [str(mesh.subnet(0)[1]), str(mesh.subnet(0)[2]), str(mesh.subnet(1)[1])]

    with ExitStack() as held:
        for host in hosts:
            for port in (80, 81):
                connection = held.enter_context(pod.open(host, port))
                assert connection.fate_by_banner.captured_outbound


@section.check("OUT-014", "1.1")
def test_bound_connection_is_captured(mesh: Mesh) -> None:
    """A connection that the application binds to an address and port of its pod MUST be
    captured."""
    pod = mesh.pod()

    for port in (0, 80, 1023, 1500, 15002, 23456, 65535):
        assert pod.connect(mesh.server, 8080, source=Address(pod.address, port)).captured_outbound


@section.check("OUT-015", "1.6")
def test_connection_to_the_node_is_captured_once(mesh: Mesh, sidecars: Sidecars) -> None:
    """A connection to the pod's own node SHOULD be captured, once."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(mesh.node, 8015)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


@section.check("OUT-018", "1.1")
def test_connection_from_a_second_address_is_captured(mesh: Mesh, second: SecondInterface) -> None:
    """Outbound capture MUST hold whichever of the pod's addresses a connection comes from."""
    pod = second.pod()

    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        assert pod.connect(mesh.server, 8080, source=Address(address, 0)).captured_outbound


@section.check("OUT-019", "1.1")
def test_connection_through_a_second_interface_is_captured(
    mesh: Mesh, second: SecondInterface
) -> None:
    """Outbound capture MUST hold whichever of the pod's interfaces leads to the destination."""
    pod = second.pod()
    beyond = second.remote_address()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.connect(beyond, 8080, interface="net1", uid=1500).direct


@section.check("IN-005", "1.4")
def test_dialled_ports_are_told_apart(mesh: Mesh) -> None:
    """The sidecar MUST learn the pod address and the port that each of several simultaneous
    connections had dialled."""
    pod = mesh.pod()

    with ExitStack() as held:
        for place in (mesh.client, mesh.server):
            for port in (80, 81, 8080):
                connection = held.enter_context(place.open(pod, port))
                assert connection.fate_by_banner.captured_inbound


@section.check("KUBE-005", "1.1", profile=Profile.KUBERNETES, families=(4,))
def test_services_are_captured(mesh: Mesh, workloads: Workloads) -> None:
    """A connection to a Service MUST be captured outbound, whether it has a cluster IP or is
    headless."""
    pod, peer = mesh.pod(), mesh.pod(annotations=PEER)
    for headless in (False, True):
        name = workloads.service(peer, 8080, headless=headless)
        (address,) = workloads.resolve(pod, name)
        if (address == peer.address) is not headless:
            message = f"{name} has the address {address}, headless={headless}"
            raise RuntimeError(message)

        fate = pod.connect(address, 8080)
        # Some network plugins choose the pod while the application connects, before any NAT.
        assert fate.captured_outbound or fate.captured_outbound_as(Address(peer.address, 8080))


@section.check("V6-004", "1.6", families=(4,))
def test_ipv4_mapped_connection_is_captured(mesh: Mesh) -> None:
    """A connection to an IPv4 address from an IPv6 socket SHOULD be captured."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=1500, mapped=True).direct
    assert pod.connect(mesh.server, 8080, mapped=True).captured_outbound


@section.check("ALL-001", "1.1", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_is_treated_as_required(mesh: Mesh, tools: SearchTools) -> None:
    """Every TCP connection, whatever its addresses, ports, user, group and header, MUST go where
    it has to in a pod without lists, and UDP and ICMP MUST pass untouched."""
    assert search_pod(mesh, tools, MUST, {}).agrees


@section.check("ALL-008", "1.1", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_of_two_interfaces_is_treated_as_required(
    mesh: Mesh,
    tools: SearchTools,
    second: SecondInterface,
) -> None:
    """In a pod with two interfaces and several addresses, every TCP connection MUST go where it
    has to."""
    assert search_pod(mesh, tools, MUST, {}, second).agrees
