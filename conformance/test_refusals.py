"""Lists with items that no list can hold are refused, before any rule is set."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import MUST, Feature, Mesh, Need, Place, Pod, Profile, check

IP_EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"
IP_INCLUSIONS = "flomesh.io/outbound-ip-range-inclusion-list"
OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"

# Not for iptables to decide: it takes "http", "80:90", "1.2.3/24" and "10.0.0.0".
NO_PORTS = ("0", "-1", "65536", "70000", "http", "80.5", "80-90", "80:90", "80 90", "80,,90")
NO_RANGES = {
    4: ("10.0.0.0/33", "10.0.0.0", "1.2.3/24", "10.0.0.0/", "10.0.0.300/24", "10.0.0.0-10.0.0.9"),
    6: ("2001:db8::/129", "2001:db8::", "2001:db8/32", "2001:db8::/", "1::2::3/64", "::1-::9"),
}


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _assert_captured(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _assert_not_programmed(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct


@check(
    "CFG-006",
    requirement="An outbound port list with an item that is no port from 1 to 65535 MUST be"
    " refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_outbound_list_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    _assert_captured(mesh, mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070"}))
    for value in NO_PORTS if mesh.exhaustive else ("0", "65536", "80-90", "80,,90"):
        assert mesh.try_pod(annotations={OUTBOUND_PORTS: value}).refused


@check(
    "CFG-007",
    requirement="An exclusion list with an item that is no address with a prefix length MUST be"
    " refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_exclusion_list_with_a_bad_range_is_refused(mesh: Mesh) -> None:
    values = NO_RANGES[mesh.family]

    _assert_captured(mesh, mesh.pod(annotations={IP_EXCLUSIONS: _only(mesh.client)}))
    for value in values if mesh.exhaustive else values[:2]:
        assert mesh.try_pod(annotations={IP_EXCLUSIONS: value}).refused


@check(
    "CFG-013",
    requirement="An inbound port list with an item that is no port from 1 to 65535 MUST be"
    " refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_inbound_list_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    _assert_captured(mesh, mesh.pod(annotations={INBOUND_PORTS: "6379,7070"}))
    for value in NO_PORTS if mesh.exhaustive else ("-1", "70000", "http"):
        assert mesh.try_pod(annotations={INBOUND_PORTS: value}).refused


@check(
    "CFG-014",
    requirement="An inclusion list with an item that is no address with a prefix length MUST be"
    " refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusion_list_with_a_bad_range_is_refused(mesh: Mesh) -> None:
    values = NO_RANGES[mesh.family]

    _assert_captured(mesh, mesh.pod(annotations={IP_INCLUSIONS: _only(mesh.server)}))
    for value in values if mesh.exhaustive else values[1:3]:
        assert mesh.try_pod(annotations={IP_INCLUSIONS: value}).refused


@check(
    "CFG-015",
    requirement="A port list that is refused, from either scope, MUST NOT leave any rule behind.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    needs={Need.PROGRAMMING},
    families=(4,),
)
def test_refused_port_lists_leave_nothing_behind(mesh: Mesh) -> None:
    pod, good = mesh.bare_pod(), {OUTBOUND_PORTS: "6379,7070", INBOUND_PORTS: "6379,7070"}

    for name in good:
        for value in NO_PORTS:
            bad = {name: f"6379,{value}"}
            assert pod.try_program(annotations=good | bad).refused
    for field in ("outboundPortExclusionList", "inboundPortExclusionList"):
        for port in (0, -1, 65536, 70000):
            assert pod.try_program(annotations=good, mesh_config={field: [6379, port]}).refused
    _assert_not_programmed(mesh, pod)
    pod.program(annotations=good, mesh_config={})
    _assert_captured(mesh, pod)


@check(
    "CFG-016",
    requirement="A range list that is refused, from either scope, MUST NOT leave any rule behind.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.PROGRAMMING},
)
def test_refused_range_lists_leave_nothing_behind(mesh: Mesh) -> None:
    pod, server, client = mesh.bare_pod(), _only(mesh.server), _only(mesh.client)
    good = {IP_EXCLUSIONS: client, IP_INCLUSIONS: f"{server},{client}"}

    for name in good:
        for value in NO_RANGES[mesh.family]:
            bad = {name: f"{server},{value}"}
            assert pod.try_program(annotations=good | bad).refused
    for field in ("outboundIPRangeExclusionList", "outboundIPRangeInclusionList"):
        for value in NO_RANGES[mesh.family]:
            assert pod.try_program(annotations=good, mesh_config={field: [value]}).refused
    _assert_not_programmed(mesh, pod)
    pod.program(annotations=good, mesh_config={})
    _assert_captured(mesh, pod)
