"""Which list decides where several match."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Feature,
    Mesh,
    Need,
    Pod,
    Profile,
    Programmer,
    SearchTools,
    Section,
    range_of,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import (
    ALL_LISTS,
    EXAMPLE_EXCLUSIONS,
    EXAMPLE_INCLUSIONS,
    EXAMPLE_PORTS,
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    INCLUDED_RANGES,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
)

section = Section(
    12,
    Profile.INCLUSIONS,
    {Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)

Network = IPv4Network | IPv6Network


def _sixteenth(block: Network) -> Network:
    """Return a part from the middle of a block."""
    return ip_network(f"{block[64]}/{block.prefixlen + 4}")


def _pod_with_ranges(mesh: Mesh) -> Pod:
    """Subnet 1 is included but for a part, 2 excluded though a part is included, 3 both at once."""
    one, two, three = mesh.subnet(1), mesh.subnet(2), mesh.subnet(3)
    lists = {
        INCLUDED_RANGES: f"{one},{_sixteenth(two)},{three}",
        EXCLUDED_RANGES: f"{_sixteenth(one)},{two},{three}",
    }
    return mesh.pod(annotations=lists)


def _pod_with_ports(mesh: Mesh) -> Pod:
    """The server's address is included, 6379 and 7070 are excluded outbound, and 9090 inbound."""
    lists = {
        INCLUDED_RANGES: str(ip_network(mesh.server.address)),
        EXCLUDED_OUTBOUND_PORTS: "6379,7070",
        EXCLUDED_INBOUND_PORTS: "9090",
    }
    return mesh.pod(annotations=lists)


@section.check("PREC-001", "12.3", needs={Need.REMOTE_ADDRESSES})
def test_exclusion_wins_inside_an_included_range(mesh: Mesh) -> None:
    """An excluded range SHOULD be direct although a wider included range covers it."""
    pod = _pod_with_ranges(mesh)
    included, excluded = mesh.subnet(1), _sixteenth(mesh.subnet(1))

    for address in (included[0], excluded[0] - 1, excluded[-1] + 1, included[-1]):
        assert pod.connect(str(address), 8080).captured_outbound
    for address in (excluded[0], excluded[-1]):
        assert pod.connect(str(address), 8080).direct


@section.check(
    "PREC-002",
    "12.3",
    features={
        Feature.OUTBOUND_IP_RANGE_INCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
    },
)
def test_port_exclusion_wins_over_an_included_range(mesh: Mesh) -> None:
    """An excluded port SHOULD be direct although an included range covers the address."""
    pod = _pod_with_ports(mesh)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.server, 7070).direct
    assert pod.connect(mesh.client, 8080).direct


@section.check(
    "PREC-003",
    "12.4",
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_address_and_port_exclusions_are_alternatives(mesh: Mesh) -> None:
    """An excluded address SHOULD be direct on every port, and an excluded port at every address,
    neither needing the other."""
    excluded = range_of(mesh.server)
    pod = mesh.pod(annotations={EXCLUDED_RANGES: excluded, EXCLUDED_OUTBOUND_PORTS: "6379"})

    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 6379).direct
    assert pod.connect(mesh.server, 6379).direct


@section.check("PREC-004", "12.3", needs={Need.REMOTE_ADDRESSES})
def test_exclusion_wins_over_a_narrower_inclusion(mesh: Mesh) -> None:
    """An excluded range SHOULD be direct although a narrower included range, or the very same one,
    covers the address."""
    pod = _pod_with_ranges(mesh)
    excluded, included = mesh.subnet(2), _sixteenth(mesh.subnet(2))

    assert pod.connect(str(mesh.subnet(1)[7]), 8080).captured_outbound
    for address in (included[0], included[-1], excluded[0], mesh.subnet(3)[7]):
        assert pod.connect(str(address), 8080).direct


@section.check("PREC-005", "12.3")
def test_exclusion_wins_across_scopes(mesh: Mesh) -> None:
    """An exclusion SHOULD win over an inclusion whichever of the two is the mesh's and whichever
    the pod's."""
    server, client, node = (
        str(ip_network(place.address)) for place in (mesh.server, mesh.client, mesh.node)
    )
    pod = mesh.pod(
        mesh_config={
            MESH_EXCLUDED_RANGES: [server],
            MESH_INCLUDED_RANGES: [client, node],
        },
        annotations={INCLUDED_RANGES: server, EXCLUDED_RANGES: client},
    )

    assert pod.connect(mesh.node, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 8080).direct


@section.check(
    "PREC-006",
    "12.1",
    features={
        Feature.OUTBOUND_IP_RANGE_INCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
    },
)
def test_inbound_exclusions_hold_beside_outbound_lists(mesh: Mesh) -> None:
    """Inbound port exclusions and outbound lists MUST each keep their effect, and their direction,
    when both are given."""
    pod = _pod_with_ports(mesh)

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 6379).captured_inbound
        assert host.connect(pod, 9090).direct
    assert pod.connect(mesh.server, 9090).captured_outbound
    assert pod.connect(mesh.client, 9090).direct


@section.check(
    "PREC-007",
    "12.3",
    features={
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_INCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
    },
    families=(4,),
)
def test_exclusions_of_the_mesh_win_over_a_pods_inclusions(
    mesh: Mesh, programmer: Programmer
) -> None:
    """Exclusions of the mesh SHOULD win over the inclusion list of a pod that has no other
    annotation."""
    server, client = (str(ip_network(place.address)) for place in (mesh.server, mesh.client))
    exclusions: dict[str, list[object]] = {
        MESH_EXCLUDED_RANGES: [client],
        MESH_EXCLUDED_OUTBOUND_PORTS: [6379],
    }
    pod = mesh.bare_pod()

    programmer.program(
        pod, annotations={INCLUDED_RANGES: f"{server},{client}"}, mesh_config=exclusions
    )
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.client, 8080).direct


@section.check("ALL-006", "12.3", features=ALL_LISTS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_all_lists(mesh: Mesh, tools: SearchTools) -> None:
    """With all four lists at once, every connection SHOULD follow them, and exclusions first."""
    lists = _all_lists(mesh)
    assert search_pod(mesh, tools, SHOULD, lists).agrees


@section.check("ALL-014", "12.1", features=ALL_LISTS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_each_list_in_its_own_direction(mesh: Mesh, tools: SearchTools) -> None:
    """With all four lists at once, each list MUST act in its own direction only, on every
    connection that there can be."""
    lists = _all_lists(mesh)
    assert search_pod(mesh, tools, MUST, lists).agrees


def _all_lists(mesh: Mesh) -> dict[str, str]:
    ranges = {**EXAMPLE_EXCLUSIONS[mesh.family], **EXAMPLE_INCLUSIONS[mesh.family]}
    return {**EXAMPLE_PORTS, **ranges}
