"""What the lists leave alone inside the pod: its own address, and loopback."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import MUST, SHOULD, SIDECAR_UID, Feature, Mesh, Pod, Profile, check

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
EXCLUDED_PORTS = {"flomesh.io/outbound-port-exclusion-list": "6379,7070"}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def _with_server(mesh: Mesh, listed: str) -> Pod:
    """Return a pod one of whose lists names the server's address alone."""
    return mesh.pod(annotations={listed: str(ip_network(mesh.server.address))})


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
