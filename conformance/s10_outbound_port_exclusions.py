"""Excluded outbound ports."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    Address,
    Feature,
    Mesh,
    Need,
    Profile,
    Programmer,
    SearchTools,
    SecondInterface,
    Section,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import (
    AROUND_SEED_PORTS,
    EXAMPLE_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    NEAR_SEED_PORTS,
    PORT_EXCLUSIONS,
    RESERVED_PORTS,
    SEED_OUTBOUND_PORTS,
)

section = Section(10, Profile.EXCLUSIONS, {Feature.OUTBOUND_PORT_EXCLUSION})


@section.check("OPX-001", "10.1")
def test_excluded_outbound_port_is_direct(mesh: Mesh) -> None:
    """TCP to an excluded outbound port MUST be direct for every user and source port, while other
    ports of the same host stay captured."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)
    low = Address(pod.address, 722)  # from the range of root's own, where NFS dials from

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.server, 6379, uid=uid).direct
    assert pod.connect(mesh.server, 8080, source=low).captured_outbound
    assert pod.connect(mesh.server, 6379, source=low).direct


@section.check("OPX-003", "10.2")
def test_outbound_ports_not_listed_stay_captured(mesh: Mesh) -> None:
    """An outbound port that is not listed MUST stay captured, also if it lies between or next to
    listed ones or shares digits with them."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)
    unlisted = AROUND_SEED_PORTS if mesh.exhaustive else NEAR_SEED_PORTS

    assert pod.connect(mesh.server, 7070).direct
    for fate in pod.connect_all(mesh.server, unlisted):
        assert fate.captured_outbound


@section.check("OPX-008", "10.1")
def test_excluded_outbound_port_is_direct_at_every_host(mesh: Mesh) -> None:
    """An excluded outbound port MUST be direct at any remote address, UDP being no concern of the
    list."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert pod.connect(host, 6379).direct
        assert pod.datagram(host, 6379).direct
        assert pod.datagram(host, 8080).direct


@section.check("OPX-010", "10.1")
def test_outbound_port_exclusion_holds_on_every_way_out(
    mesh: Mesh, second: SecondInterface
) -> None:
    """An outbound port exclusion MUST hold whichever of the pod's addresses a connection comes
    from, and whichever interface it leaves by."""
    pod = second.pod(annotations=SEED_OUTBOUND_PORTS)
    beyond = second.remote_address()

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).captured_outbound
        assert pod.connect(mesh.server, 6379, source=Address(own, 0)).direct
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.connect(beyond, 6379, interface="net1").direct


@section.check("OPX-011", "10.1")
def test_reserved_numbers_can_be_excluded_outbound(mesh: Mesh, programmer: Programmer) -> None:
    """Outbound exclusions of numbers that FSM reserves MUST make those ports direct, or be
    refused."""
    pod = mesh.bare_pod()
    listed = ",".join(map(str, RESERVED_PORTS))

    if programmer.try_program(pod, annotations={EXCLUDED_OUTBOUND_PORTS: listed}).accepted:
        assert pod.connect(mesh.server, 15002).captured_outbound
        for port in RESERVED_PORTS:
            assert pod.connect(mesh.server, port).direct


@section.check("ALL-003", "10.1", features=PORT_EXCLUSIONS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_port_lists(mesh: Mesh, tools: SearchTools) -> None:
    """With port exclusions, exactly the connections to the listed ports MUST be direct, of all
    that there can be."""
    assert search_pod(mesh, tools, MUST, EXAMPLE_PORTS).agrees


@section.check("ALL-010", "10.1", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_outbound_port_list(mesh: Mesh, tools: SearchTools) -> None:
    """With an exclusion of the outbound port 53 and no other, exactly the connections to it MUST be
    direct, of all that there can be."""
    assert search_pod(mesh, tools, MUST, {EXCLUDED_OUTBOUND_PORTS: "53"}).agrees
