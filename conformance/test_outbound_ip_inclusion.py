"""Outbound IP range inclusions; what a range covers is in test_ip_ranges."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    SHOULD,
    SIDECAR_UID,
    Acceptor,
    Address,
    Feature,
    Mesh,
    Need,
    Place,
    Profile,
    Programmer,
    SecondInterface,
    Sidecars,
    check,
)

INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
EMPTY_LISTS: dict[str, list[str]] = {
    "outboundIPRangeExclusionList": [],
    "outboundIPRangeInclusionList": [],
}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
PORTS = (1, 22, 53, 80, 443, 6379, 15000, 15001, 15003, 15904, 65535)


def _only(*places: Place) -> str:
    """Return the list of ranges that hold these places' addresses and no others."""
    return ",".join(str(ip_network(place.address)) for place in places)


@check(
    "OII-001",
    requirement="With an inclusion list in force, TCP to an address inside an included range MUST"
    " be captured outbound, on any port.",
    spec="SPEC-9.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_included_address_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: _only(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    for fate in pod.connect_all(mesh.server, PORTS):
        assert fate.captured_outbound


@check(
    "OII-002",
    requirement="With an inclusion list in force, TCP to an address outside every included range"
    " MUST be direct, on any port and for every user.",
    spec="SPEC-9.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_address_not_included_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: _only(mesh.server)})

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.client, 8080, uid=uid).direct
    for port in PORTS:
        assert pod.connect(mesh.client, port).direct


@check(
    "OII-004",
    requirement="An empty inclusion list MUST act as no list, leaving everything captured.",
    spec="SPEC-13.9",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_empty_inclusion_list_leaves_everything_captured(mesh: Mesh) -> None:
    pod = mesh.pod(mesh_config=EMPTY_LISTS)

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound


@check(
    "OII-005",
    requirement="UID 1500 MUST be direct under an inclusion list, to an included address as to any"
    " other.",
    spec="SPEC-4.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_sidecar_is_direct_to_included_addresses(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: _only(mesh.server)})

    assert pod.connect(mesh.server, 8080).captured_outbound
    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct


@check(
    "OII-006",
    requirement="An inclusion list MUST NOT exempt anything inbound, clients inside and outside of"
    " it being captured alike.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_list_is_for_outbound_only(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: _only(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound


@check(
    "OII-007",
    requirement="An inclusion of every address SHOULD act as the default, everything outbound being"
    " captured and UID 1500 exempt.",
    spec="SPEC-8.4",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_of_everything_is_the_default(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: EVERYWHERE[mesh.family]})

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct
        assert host.connect(pod, 8080).captured_inbound


@check(
    "OII-008",
    requirement="Redirection SHOULD NOT loop under an inclusion list that names the loopback range"
    " and the pod's own address.",
    spec="SPEC-4.5",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_of_local_addresses_does_not_loop(
    mesh: Mesh, programmer: Programmer, sidecars: Sidecars
) -> None:
    pod = mesh.bare_pod()
    programmer.program(pod, annotations={INCLUSION_LIST: f"{LOOPBACK[mesh.family]},{_only(pod)}"})

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.forwarding(pod):
        assert mesh.client.connect(pod, 8080).passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
        for address in (pod.address, mesh.loopback()):
            assert pod.connect(address, 8080).ends_within(3)


@check(
    "OII-013",
    requirement="UDP MUST pass untouched under an inclusion list, inside and outside its ranges.",
    spec="SPEC-5.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_list_is_no_concern_of_udp(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={INCLUSION_LIST: _only(mesh.server)})

    assert pod.connect(mesh.server, 8080).captured_outbound
    for host in (mesh.server, mesh.client):
        assert pod.datagram(host, 8080).direct
        assert host.datagram(pod, 8080).direct


@check(
    "OII-015",
    requirement="Ranges included for the mesh and ranges included for the pod MUST all be captured"
    " in that pod, and nothing else.",
    spec="SPEC-13.5",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES, Need.DEFAULT_CLUSTER_RANGES},
    families=(4,),
)
def test_inclusion_lists_of_both_scopes_add_up(mesh: Mesh) -> None:
    pod = mesh.pod(
        mesh_config={"outboundIPRangeInclusionList": ["1.1.1.1/32", "2.2.2.2/24"]},
        annotations={INCLUSION_LIST: "10.244.0.0/16,10.96.0.0/16"},
    )

    for address in ("1.1.1.1", "2.2.2.255", "10.244.0.0", "10.244.255.255", "10.96.0.1"):
        assert pod.connect(address, 8080).captured_outbound
    for address in ("1.1.1.2", "2.2.3.0", "10.243.255.255", "10.245.0.0", "10.97.0.0"):
        assert pod.connect(address, 8080).direct


@check(
    "OII-016",
    requirement="An included range MUST be captured whichever of the pod's addresses a connection"
    " comes from, and whichever interface it leaves by.",
    spec="SPEC-9.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_included_range_holds_on_every_way_out(mesh: Mesh, second: SecondInterface) -> None:
    beyond = ip_network(second.remote_address())
    lists = {INCLUSION_LIST: f"{_only(mesh.server)},{beyond}"}
    pod = second.pod(annotations=lists)

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.client, 8080, source=Address(own, 0)).direct
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).captured_outbound
    assert pod.connect(str(beyond[0] + 1), 8080, interface="net1").direct
    assert pod.connect(str(beyond[0]), 8080, interface="net1").captured_outbound
