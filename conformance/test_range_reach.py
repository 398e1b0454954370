"""What ranges, excluded or included, do not reach: the other IP version, and the pod's own side."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import MUST, Feature, Mesh, Place, Pod, Profile, Programmer, check

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
OF_THE_OTHER_FAMILY = {4: "2001:db8:64::/48,::/0", 6: "10.96.0.0/16,0.0.0.0/0"}
POD_NETWORK = {4: 24, 6: 64}


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _own(mesh: Mesh, pod: Pod) -> str:
    """Return ranges that hold the pod's address: that one, and as many as a pod network has."""
    around = ip_network(f"{pod.address}/{POD_NETWORK[mesh.family]}", strict=False)
    return f"{_only(pod)},{around}"


@check(
    "OIX-016",
    requirement="An exclusion list that names only ranges of the other IP version MUST be refused"
    " or leave every connection of this one captured, even where it names all of the other.",
    spec="SPEC-8.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_exclusion_list_of_one_ip_version_leaves_the_other_captured(
    mesh: Mesh, programmer: Programmer
) -> None:
    pod = mesh.bare_pod()

    # To refuse ranges of IPv6 is permitted (SPEC-14.3).
    if programmer.try_program(
        pod, annotations={EXCLUSION_LIST: OF_THE_OTHER_FAMILY[mesh.family]}
    ).accepted:
        for host in (mesh.server, mesh.client):
            assert pod.connect(host, 8080).captured_outbound
            assert host.connect(pod, 8080).captured_inbound


@check(
    "OIX-017",
    requirement="An excluded range that holds the pod's own address MUST NOT exempt what the pod"
    " sends to other addresses, nor what comes in.",
    spec="SPEC-8.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_exclusion_of_the_own_address_exempts_nothing_else(
    mesh: Mesh, programmer: Programmer
) -> None:
    pod = mesh.bare_pod()
    programmer.program(pod, annotations={EXCLUSION_LIST: _own(mesh, pod)})

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert host.connect(pod, 8080).captured_inbound


@check(
    "OII-014",
    requirement="An inclusion list that names only ranges of the other IP version MUST be refused"
    " or make every outbound connection of this one direct, even where it names all of the other.",
    spec="SPEC-9.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION, Feature.IPV6},
)
def test_inclusion_list_of_one_ip_version_holds_for_both(mesh: Mesh) -> None:
    lists = {INCLUSION_LIST: OF_THE_OTHER_FAMILY[mesh.family]}

    # To refuse ranges of IPv6 is permitted (SPEC-14.3).
    if mesh.try_pod(annotations=lists).accepted:
        pod = mesh.pod(annotations=lists)
        for host in (mesh.server, mesh.client):
            assert host.connect(pod, 8080).captured_inbound
            assert pod.connect(host, 8080).direct


@check(
    "OII-019",
    requirement="An included range that holds the pod's own address MUST NOT capture what the pod"
    " sends to addresses outside every range.",
    spec="SPEC-9.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_of_the_own_address_captures_nothing_else(
    mesh: Mesh, programmer: Programmer
) -> None:
    pod = mesh.bare_pod()
    programmer.program(pod, annotations={INCLUSION_LIST: f"{_own(mesh, pod)},{_only(mesh.server)}"})

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct
