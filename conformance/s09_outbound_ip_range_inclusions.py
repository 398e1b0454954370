"""Included ranges, and what they do not reach."""

from __future__ import annotations

from ipaddress import ip_network

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
    range_of,
    ranges_around,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import (
    AROUND_INCLUSIONS,
    AWKWARD_RANGES,
    EXAMPLE_INCLUSIONS,
    FEW_PORTS,
    INCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
    RANGES_OF_THE_OTHER_FAMILY,
)

section = Section(9, Profile.INCLUSIONS, {Feature.OUTBOUND_IP_RANGE_INCLUSION})


@section.check("OII-001", "9.1")
def test_included_address_is_captured(mesh: Mesh) -> None:
    """With an inclusion list in force, TCP to an address inside an included range MUST be captured
    outbound, on any port."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    for fate in pod.connect_all(mesh.server, FEW_PORTS):
        assert fate.captured_outbound


@section.check("OII-002", "9.2")
def test_address_not_included_is_direct(mesh: Mesh) -> None:
    """With an inclusion list in force, TCP to an address outside every included range MUST be
    direct, on any port and for every user."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.client, 8080, uid=uid).direct
    for port in FEW_PORTS:
        assert pod.connect(mesh.client, port).direct


@section.check("OII-016", "9.1")
def test_included_range_holds_on_every_way_out(mesh: Mesh, second: SecondInterface) -> None:
    """An included range MUST be captured whichever of the pod's addresses a connection comes from,
    and whichever interface it leaves by."""
    beyond = ip_network(second.remote_address())
    lists = {INCLUDED_RANGES: f"{range_of(mesh.server)},{beyond}"}
    pod = second.pod(annotations=lists)

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.client, 8080, source=Address(own, 0)).direct
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).captured_outbound
    assert pod.connect(str(beyond[0] + 1), 8080, interface="net1").direct
    assert pod.connect(str(beyond[0]), 8080, interface="net1").captured_outbound


@section.check("OII-014", "9.2", features={Feature.IPV6, Feature.OUTBOUND_IP_RANGE_INCLUSION})
def test_inclusion_list_of_one_ip_version_holds_for_both(mesh: Mesh) -> None:
    """An inclusion list that names only ranges of the other IP version MUST be refused or make
    every outbound connection of this one direct, even where it names all of the other."""
    lists = {INCLUDED_RANGES: RANGES_OF_THE_OTHER_FAMILY[mesh.family]}

    # To refuse ranges of IPv6 is permitted (SPEC-14.3).
    if mesh.try_pod(annotations=lists).accepted:
        pod = mesh.pod(annotations=lists)
        for host in (mesh.server, mesh.client):
            assert host.connect(pod, 8080).captured_inbound
            assert pod.connect(host, 8080).direct


@section.check("OII-019", "9.2")
def test_inclusion_of_the_own_address_captures_nothing_else(
    mesh: Mesh, programmer: Programmer
) -> None:
    """An included range that holds the pod's own address MUST NOT capture what the pod sends to
    addresses outside every range."""
    pod = mesh.bare_pod()
    programmer.program(
        pod, annotations={INCLUDED_RANGES: f"{ranges_around(mesh, pod)},{range_of(mesh.server)}"}
    )

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct


@section.check("ALL-005", "9.2", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_included_ranges(mesh: Mesh, tools: SearchTools) -> None:
    """With dozens of included IP ranges of both scopes, exactly the connections to their addresses
    MUST be captured, of all that there can be."""
    ranges, example = AWKWARD_RANGES[mesh.family], EXAMPLE_INCLUSIONS[mesh.family][INCLUDED_RANGES]
    before, after = AROUND_INCLUSIONS[mesh.family]
    lists = {INCLUDED_RANGES: ",".join([before, example, *ranges[:-10], after])}
    of_mesh = {MESH_INCLUDED_RANGES: ranges[-10:]}
    assert search_pod(mesh, tools, MUST, lists, mesh_config=of_mesh).agrees
