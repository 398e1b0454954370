"""What the lists leave alone: the reserved ports, and traffic inside the pod."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    SHOULD,
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Need,
    Pod,
    Profile,
    check,
)

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
EXCLUDED_PORTS = {"flomesh.io/outbound-port-exclusion-list": "6379,7070"}
EXCLUDED_INTERFACE = {"networkInterfaceExclusionList": ["net1"]}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
SERVED = {
    15010: Acceptor.METRICS,
    15901: Acceptor.LIVENESS,
    15902: Acceptor.READINESS,
    15903: Acceptor.STARTUP,
    15904: Acceptor.HEALTH,
}


def _with_server(mesh: Mesh, listed: str) -> Pod:
    """Return a pod one of whose lists names the server's address alone."""
    return mesh.pod(annotations={listed: str(ip_network(mesh.server.address))})


def _assert_served(mesh: Mesh, pod: Pod) -> None:
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port, acceptor in SERVED.items():
        assert mesh.client.connect(pod, port).reached(acceptor)


@check(
    "RES-016",
    requirement="A list of excluded outbound ports or ranges MUST NOT take away from the reserved"
    " ports that answer for themselves: 15010, 15901, 15902, 15903 and 15904.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_reserved_ports_answer_beside_outbound_exclusions(mesh: Mesh) -> None:
    ports, ranges = mesh.pod(annotations=EXCLUDED_PORTS), _with_server(mesh, EXCLUSION_LIST)

    assert ports.connect(mesh.server, 6379).direct
    _assert_served(mesh, ports)
    assert ranges.connect(mesh.server, 8080).direct
    _assert_served(mesh, ranges)


@check(
    "RES-017",
    requirement="An inclusion list MUST NOT take away from the reserved ports that answer for"
    " themselves.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_reserved_ports_answer_beside_inclusions(mesh: Mesh) -> None:
    pod = _with_server(mesh, INCLUSION_LIST)

    assert pod.connect(mesh.client, 8080).direct
    _assert_served(mesh, pod)


@check(
    "RES-018",
    requirement="An interface exclusion MUST NOT take away, on the other interfaces, from the"
    " reserved ports that answer for themselves.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
    needs={Need.SECOND_INTERFACE},
)
def test_reserved_ports_answer_beside_an_interface_exclusion(mesh: Mesh) -> None:
    _assert_served(mesh, mesh.pod(mesh_config=EXCLUDED_INTERFACE, second_interface=True))


@check(
    "LO-013",
    requirement="The sidecar's connection to its pod's own address SHOULD be captured inbound on an"
    " excluded outbound port, and under an excluded range that holds the address.",
    spec="SPEC-7.4",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={
        Feature.HAIRPIN,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    },
)
def test_exclusions_do_not_touch_the_sidecars_call_to_its_own_pod(mesh: Mesh) -> None:
    ports = mesh.pod(annotations=EXCLUDED_PORTS)
    ranges = mesh.pod(annotations={EXCLUSION_LIST: EVERYWHERE[mesh.family]})

    for pod in (ports, ranges):
        assert pod.connect(mesh.server, 6379).direct
        assert pod.connect(pod, 6379, uid=SIDECAR_UID).captured_inbound


@check(
    "LO-014",
    requirement="The sidecar's connection to its pod's own address SHOULD be captured inbound under"
    " an inclusion list, whether or not that holds the address.",
    spec="SPEC-7.4",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.HAIRPIN, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusions_do_not_touch_the_sidecars_call_to_its_own_pod(mesh: Mesh) -> None:
    outside = _with_server(mesh, INCLUSION_LIST)
    inside = mesh.pod(annotations={INCLUSION_LIST: EVERYWHERE[mesh.family]})

    assert outside.connect(mesh.client, 8080).direct
    for pod in (outside, inside):
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(pod, 8080, uid=SIDECAR_UID).captured_inbound


@check(
    "LO-015",
    requirement="The application's connection to its pod's own address SHOULD be direct under an"
    " inclusion list, whether or not that holds the address.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_own_address_is_direct_although_included(mesh: Mesh) -> None:
    outside = _with_server(mesh, INCLUSION_LIST)
    inside = mesh.pod(annotations={INCLUSION_LIST: EVERYWHERE[mesh.family]})

    for pod in (outside, inside):
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(pod, 8080).direct


@check(
    "OII-012",
    requirement="The application's connection to 127.0.0.1 MUST be direct, even under an inclusion"
    " list that names the loopback range.",
    spec="SPEC-7.1",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    families=(4,),
)
def test_loopback_is_direct_although_included(mesh: Mesh) -> None:
    lists = {INCLUSION_LIST: f"127.0.0.0/8,{ip_network(mesh.server.address)}"}
    pod = mesh.pod(annotations=lists)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect("127.0.0.1", 8080).direct
