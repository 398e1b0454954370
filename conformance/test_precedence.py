"""How the lists combine."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pytest_fsmredir import MUST, SHOULD, Feature, Mesh, Need, Pod, Profile, Programmer, check

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
OUTBOUND_PORT_LIST = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORT_LIST = "flomesh.io/inbound-port-exclusion-list"

PORT_LISTS = {Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION}

Network = IPv4Network | IPv6Network


def _sixteenth(block: Network) -> Network:
    """Return a part from the middle of a block."""
    return ip_network(f"{block[64]}/{block.prefixlen + 4}")


def _pod_with_ranges(mesh: Mesh) -> Pod:
    """Subnet 1 is included but for a part, 2 excluded though a part is included, 3 both at once."""
    one, two, three = mesh.subnet(1), mesh.subnet(2), mesh.subnet(3)
    lists = {
        INCLUSION_LIST: f"{one},{_sixteenth(two)},{three}",
        EXCLUSION_LIST: f"{_sixteenth(one)},{two},{three}",
    }
    return mesh.pod(annotations=lists)


def _pod_with_ports(mesh: Mesh) -> Pod:
    """The server's address is included, 6379 and 7070 are excluded outbound, and 9090 inbound."""
    lists = {
        INCLUSION_LIST: str(ip_network(mesh.server.address)),
        OUTBOUND_PORT_LIST: "6379,7070",
        INBOUND_PORT_LIST: "9090",
    }
    return mesh.pod(annotations=lists)


@check(
    "PREC-001",
    requirement="An excluded range SHOULD be direct although a wider included range covers it.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_exclusion_wins_inside_an_included_range(mesh: Mesh) -> None:
    pod = _pod_with_ranges(mesh)
    included, excluded = mesh.subnet(1), _sixteenth(mesh.subnet(1))

    for address in (included[0], excluded[0] - 1, excluded[-1] + 1, included[-1]):
        assert pod.connect(str(address), 8080).captured_outbound
    for address in (excluded[0], excluded[-1]):
        assert pod.connect(str(address), 8080).direct


@check(
    "PREC-002",
    requirement="An excluded port SHOULD be direct although an included range covers the address.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features=PORT_LISTS | {Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_port_exclusion_wins_over_an_included_range(mesh: Mesh) -> None:
    pod = _pod_with_ports(mesh)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.server, 7070).direct
    assert pod.connect(mesh.client, 8080).direct


@check(
    "PREC-003",
    requirement="An excluded address SHOULD be direct on every port, and an excluded port at every"
    " address, neither needing the other.",
    spec="SPEC-12.4",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_address_and_port_exclusions_are_alternatives(mesh: Mesh) -> None:
    excluded = str(ip_network(mesh.server.address))
    pod = mesh.pod(annotations={EXCLUSION_LIST: excluded, OUTBOUND_PORT_LIST: "6379"})

    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 6379).direct
    assert pod.connect(mesh.server, 6379).direct


@check(
    "PREC-004",
    requirement="An excluded range SHOULD be direct although a narrower included range, or the very"
    " same one, covers the address.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_exclusion_wins_over_a_narrower_inclusion(mesh: Mesh) -> None:
    pod = _pod_with_ranges(mesh)
    excluded, included = mesh.subnet(2), _sixteenth(mesh.subnet(2))

    assert pod.connect(str(mesh.subnet(1)[7]), 8080).captured_outbound
    for address in (included[0], included[-1], excluded[0], mesh.subnet(3)[7]):
        assert pod.connect(str(address), 8080).direct


@check(
    "PREC-005",
    requirement="An exclusion SHOULD win over an inclusion whichever of the two is the mesh's and"
    " whichever the pod's.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_exclusion_wins_across_scopes(mesh: Mesh) -> None:
    server, client, node = (
        str(ip_network(place.address)) for place in (mesh.server, mesh.client, mesh.node)
    )
    pod = mesh.pod(
        mesh_config={
            "outboundIPRangeExclusionList": [server],
            "outboundIPRangeInclusionList": [client, node],
        },
        annotations={INCLUSION_LIST: server, EXCLUSION_LIST: client},
    )

    assert pod.connect(mesh.node, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 8080).direct


@check(
    "PREC-006",
    requirement="Inbound port exclusions and outbound lists MUST each keep their effect, and their"
    " direction, when both are given.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features=PORT_LISTS | {Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inbound_exclusions_hold_beside_outbound_lists(mesh: Mesh) -> None:
    pod = _pod_with_ports(mesh)

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 6379).captured_inbound
        assert host.connect(pod, 9090).direct
    assert pod.connect(mesh.server, 9090).captured_outbound
    assert pod.connect(mesh.client, 9090).direct


@check(
    "PREC-007",
    requirement="Exclusions of the mesh SHOULD win over the inclusion list of a pod that has no"
    " other annotation.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_INCLUSION,
    },
    families=(4,),
)
def test_exclusions_of_the_mesh_win_over_a_pods_inclusions(
    mesh: Mesh, programmer: Programmer
) -> None:
    server, client = (str(ip_network(place.address)) for place in (mesh.server, mesh.client))
    exclusions: dict[str, list[object]] = {
        "outboundIPRangeExclusionList": [client],
        "outboundPortExclusionList": [6379],
    }
    pod = mesh.bare_pod()

    programmer.program(
        pod, annotations={INCLUSION_LIST: f"{server},{client}"}, mesh_config=exclusions
    )
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.client, 8080).direct
