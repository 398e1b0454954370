"""Excluded ranges, and what they do not reach."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    Acceptor,
    Address,
    Feature,
    ForeignPrograms,
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
    translate,
)
from pytest_fsmredir.model.vocabulary import (
    EXAMPLE_EXCLUSIONS,
    EXAMPLE_PORTS,
    EXCLUDED_RANGES,
    EXCLUSIONS,
    FEW_PORTS,
    RANGES_OF_THE_OTHER_FAMILY,
)

section = Section(8, Profile.EXCLUSIONS, {Feature.OUTBOUND_IP_RANGE_EXCLUSION})


@section.check("OIX-001", "8.1")
def test_excluded_address_is_direct(mesh: Mesh) -> None:
    """TCP to an address inside an excluded range MUST be direct for every user, while other
    addresses stay captured."""
    pod = mesh.pod(annotations={EXCLUDED_RANGES: range_of(mesh.server)})

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.client, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=uid).direct


@section.check("OIX-006", "8.1")
def test_excluded_address_is_direct_on_any_port(mesh: Mesh) -> None:
    """An excluded address MUST be direct on any port, UDP being no concern of the list."""
    pod = mesh.pod(annotations={EXCLUDED_RANGES: range_of(mesh.server)})

    for fate in pod.connect_all(mesh.client, FEW_PORTS):
        assert fate.captured_outbound
    for port in FEW_PORTS:
        assert pod.connect(mesh.server, port).direct
    for host in (mesh.server, mesh.client):
        assert pod.datagram(host, 8080).direct


@section.check("OIX-010", "8.5")
def test_excluded_service_address_is_direct(mesh: Mesh, programs: ForeignPrograms) -> None:
    """The address that the application dialled SHOULD decide, not the one that it is translated to
    outside the pod."""
    service, server = mesh.bare_pod(), mesh.server
    translate(programs, service, server.address)
    server.listen(8080)
    service_excluded = mesh.pod(annotations={EXCLUDED_RANGES: range_of(service)}, fresh=True)
    server_excluded = mesh.pod(annotations={EXCLUDED_RANGES: range_of(server)})

    assert server_excluded.connect(service, 8080, answer=False).captured_outbound
    assert service_excluded.connect(server, 8080).captured_outbound
    fate = service_excluded.connect(service, 8080, answer=False)
    assert fate.passed(Acceptor.ORIGIN)
    assert fate.translated_to(Address(server.address, 8080))


@section.check("OIX-014", "8.1")
def test_excluded_range_holds_on_every_way_out(mesh: Mesh, second: SecondInterface) -> None:
    """An excluded range MUST be direct whichever of the pod's addresses a connection comes from,
    and whichever interface it leaves by."""
    beyond = ip_network(second.remote_address())
    lists = {EXCLUDED_RANGES: f"{range_of(mesh.server)},{beyond}"}
    pod = second.pod(annotations=lists)

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.client, 8080, source=Address(own, 0)).captured_outbound
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).direct
    assert pod.connect(str(beyond[0] + 1), 8080, interface="net1").captured_outbound
    assert pod.connect(str(beyond[0]), 8080, interface="net1").direct


@section.check("OIX-016", "8.2")
def test_exclusion_list_of_one_ip_version_leaves_the_other_captured(
    mesh: Mesh, programmer: Programmer
) -> None:
    """An exclusion list that names only ranges of the other IP version MUST be refused or leave
    every connection of this one captured, even where it names all of the other."""
    pod = mesh.bare_pod()

    # To refuse ranges of IPv6 is permitted (SPEC-14.3).
    if programmer.try_program(
        pod, annotations={EXCLUDED_RANGES: RANGES_OF_THE_OTHER_FAMILY[mesh.family]}
    ).accepted:
        for host in (mesh.server, mesh.client):
            assert pod.connect(host, 8080).captured_outbound
            assert host.connect(pod, 8080).captured_inbound


@section.check("OIX-017", "8.2")
def test_exclusion_of_the_own_address_exempts_nothing_else(
    mesh: Mesh, programmer: Programmer
) -> None:
    """An excluded range that holds the pod's own address MUST NOT exempt what the pod sends to
    other addresses, nor what comes in."""
    pod = mesh.bare_pod()
    programmer.program(pod, annotations={EXCLUDED_RANGES: ranges_around(mesh, pod)})

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert host.connect(pod, 8080).captured_inbound


@section.check("ALL-004", "8.2", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_excluded_ranges(mesh: Mesh, tools: SearchTools) -> None:
    """With IP range exclusions, exactly the connections to listed addresses MUST be direct, of all
    that there can be."""
    assert search_pod(mesh, tools, MUST, EXAMPLE_EXCLUSIONS[mesh.family]).agrees


@section.check("ALL-013", "8.2", features=EXCLUSIONS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_of_two_interfaces_follows_the_exclusions(
    mesh: Mesh,
    tools: SearchTools,
    second: SecondInterface,
) -> None:
    """In a pod with two interfaces and all exclusion lists, exactly the connections to listed
    addresses and ports MUST be direct, on either interface."""
    beyond = str(ip_network(second.remote_address()))
    # Ports have to be exempt on either interface in addresses that no range exempts.
    ranges = {4: beyond, 6: RANGES_OF_THE_OTHER_FAMILY[6]}
    lists = {**EXAMPLE_PORTS, EXCLUDED_RANGES: ranges[mesh.family]}
    assert search_pod(mesh, tools, MUST, lists, second).agrees
