"""Excluded inbound ports."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    Address,
    Feature,
    Mesh,
    Need,
    Profile,
    SearchTools,
    SecondInterface,
    Section,
    Sidecars,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import EXCLUDED_INBOUND_PORTS, SEED_INBOUND_PORTS

section = Section(11, Profile.EXCLUSIONS, {Feature.INBOUND_PORT_EXCLUSION})


@section.check("IPX-001", "11.1")
def test_excluded_inbound_port_is_direct(mesh: Mesh) -> None:
    """TCP from outside to an excluded inbound port MUST be direct, other ports of the pod staying
    captured."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct
    assert mesh.client.connect(pod, 7070).direct


@section.check("IPX-002", "11.1")
def test_application_sees_the_client_on_an_excluded_inbound_port(mesh: Mesh) -> None:
    """On an excluded inbound port the application MUST see the client's own address and port."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080).captured_inbound
    for host, port in ((mesh.client, 722), (mesh.server, 40123)):
        fate = host.connect(pod, 6379, source=Address(host.address, port))
        assert fate.direct
        assert fate.came_from(Address(host.address, port))


@section.check("IPX-004", "11.2")
def test_excluded_inbound_port_without_listener_is_refused(mesh: Mesh) -> None:
    """An excluded inbound port where no application listens MUST be refused by the pod and not be
    answered by the sidecar."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080, answer=False).captured_inbound
    assert mesh.client.connect(pod, 6379, answer=False).refused
    assert mesh.client.connect(pod, 7070, answer=False).refused


@section.check("IPX-007", "11.2")
def test_excluded_inbound_port_works_without_sidecar(mesh: Mesh, sidecars: Sidecars) -> None:
    """An excluded inbound port MUST reach the application while the sidecar is down."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.stopped(pod):
        assert mesh.client.connect(pod, 6379).direct
        assert mesh.client.connect(pod, 7070).direct


@section.check("IPX-009", "11.1")
def test_excluded_inbound_port_is_direct_at_every_address(
    mesh: Mesh, second: SecondInterface
) -> None:
    """An excluded inbound port MUST be direct at every address of the pod, on whichever
    interface."""
    pod = second.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080).captured_inbound
    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        interface = "net1" if address == second.interface_address(pod) else "eth0"
        with pod.listening(6379, host=address):
            assert mesh.client.connect(address, 6379, interface=interface).direct


@section.check("ALL-011", "11.1", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_inbound_port_list(mesh: Mesh, tools: SearchTools) -> None:
    """With an exclusion of the inbound port 53 and no other, exactly the connections to it MUST be
    direct, of all that there can be."""
    assert search_pod(mesh, tools, MUST, {EXCLUDED_INBOUND_PORTS: "53"}).agrees
