"""Lists of the mesh and lists of a pod."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import MUST, Feature, Mesh, Place, Pod, Profile, Programmer, check

IP_EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"
IP_INCLUSIONS = "flomesh.io/outbound-ip-range-inclusion-list"
OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"

ALL_LISTS = {
    Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    Feature.OUTBOUND_IP_RANGE_INCLUSION,
    Feature.OUTBOUND_PORT_EXCLUSION,
    Feature.INBOUND_PORT_EXCLUSION,
}
PORT_LISTS = {Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION}


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _exclusions_of_mesh(mesh: Mesh) -> dict[str, list[object]]:
    return {
        "outboundIPRangeExclusionList": [_only(mesh.server)],
        "outboundPortExclusionList": [6379],
        "inboundPortExclusionList": [7070],
    }


def _exclusions_of_pod(mesh: Mesh) -> dict[str, str]:
    return {IP_EXCLUSIONS: _only(mesh.server), OUTBOUND_PORTS: "6379", INBOUND_PORTS: "7070"}


def _assert_each_exclusion_acts(mesh: Mesh, pod: Pod) -> None:
    """Excluded are the server's address, and the port 6379 outbound, and the port 7070 inbound."""
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.client, 7070).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 6379).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).captured_inbound
    assert mesh.client.connect(pod, 7070).direct


def _assert_server_is_included(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct
    assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "CFG-001",
    requirement="Each of the four lists MUST take effect on a pod by its annotation alone.",
    spec="SPEC-13.2",
    level=MUST,
    profile=Profile.CORE,
    features=ALL_LISTS,
)
def test_annotations_alone_take_effect(mesh: Mesh) -> None:
    _assert_each_exclusion_acts(mesh, mesh.pod(annotations=_exclusions_of_pod(mesh)))
    _assert_server_is_included(mesh, mesh.pod(annotations={IP_INCLUSIONS: _only(mesh.server)}))


@check(
    "CFG-002",
    requirement="Each of the four lists MUST take effect on every pod by the MeshConfig alone, on"
    " pods annotated with other lists too.",
    spec="SPEC-13.1",
    level=MUST,
    profile=Profile.CORE,
    features=ALL_LISTS,
)
def test_mesh_config_alone_takes_effect(mesh: Mesh) -> None:
    inclusions = {"outboundIPRangeInclusionList": [_only(mesh.server)]}
    others = {INBOUND_PORTS: "9090", OUTBOUND_PORTS: "9090", IP_EXCLUSIONS: _only(mesh.node)}

    _assert_each_exclusion_acts(mesh, mesh.pod(mesh_config=_exclusions_of_mesh(mesh)))
    annotated = mesh.pod(mesh_config=inclusions, annotations=others)
    _assert_server_is_included(mesh, annotated)
    assert mesh.client.connect(annotated, 9090).direct


@check(
    "CFG-019",
    requirement="Each list of the MeshConfig MUST take effect on a pod that is annotated with"
    " another list and not with this one.",
    spec="SPEC-13.1",
    level=MUST,
    profile=Profile.CORE,
    features=ALL_LISTS,
    families=(4,),
)
def test_mesh_lists_act_beside_other_annotations(mesh: Mesh, programmer: Programmer) -> None:
    of_mesh, of_pod = _exclusions_of_mesh(mesh), _exclusions_of_pod(mesh)

    for own, annotation in zip(of_mesh, of_pod, strict=True):
        others = {field: listed for field, listed in of_mesh.items() if field != own}
        pod = mesh.bare_pod()
        programmer.program(pod, annotations={annotation: of_pod[annotation]}, mesh_config=others)
        _assert_each_exclusion_acts(mesh, pod)
    pod, inbound = mesh.bare_pod(), {"inboundPortExclusionList": [7070]}
    programmer.program(pod, annotations={IP_INCLUSIONS: _only(mesh.server)}, mesh_config=inbound)
    _assert_server_is_included(mesh, pod)
    assert mesh.client.connect(pod, 7070).direct


@check(
    "CFG-003",
    requirement="With an exclusion list at both scopes, the pod MUST follow the union of the two.",
    spec="SPEC-13.5",
    level=MUST,
    profile=Profile.CORE,
    features=ALL_LISTS - {Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_exclusions_of_both_scopes_are_united(mesh: Mesh) -> None:
    of_mesh: dict[str, list[object]] = {
        "outboundIPRangeExclusionList": [_only(mesh.server)],
        "outboundPortExclusionList": [6379],
        "inboundPortExclusionList": [9090],
    }
    of_pod = {IP_EXCLUSIONS: _only(mesh.client), OUTBOUND_PORTS: "7070", INBOUND_PORTS: "9191"}
    pod, neighbour = mesh.pod(mesh_config=of_mesh, annotations=of_pod), mesh.pod()

    assert pod.connect(neighbour, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for excluded in (mesh.server, mesh.client):
        assert pod.connect(excluded, 8080).direct
    for port in (6379, 7070):
        assert pod.connect(neighbour, port).captured_inbound
    for port in (9090, 9191):
        assert mesh.client.connect(pod, port).direct


@check(
    "CFG-009",
    requirement="An annotation MUST NOT affect any other pod, made earlier or later.",
    spec="SPEC-13.3",
    level=MUST,
    profile=Profile.CORE,
    features=PORT_LISTS,
)
def test_annotation_is_for_its_own_pod_only(mesh: Mesh) -> None:
    lists = {OUTBOUND_PORTS: "6379", INBOUND_PORTS: "7070"}
    earlier = mesh.pod()
    annotated = mesh.pod(annotations=lists)
    later = mesh.pod(fresh=True)

    assert annotated.connect(mesh.server, 6379).direct
    assert mesh.client.connect(annotated, 7070).direct
    for pod in (earlier, later):
        assert pod.connect(mesh.server, 6379).captured_outbound
        assert mesh.client.connect(pod, 7070).captured_inbound


@check(
    "CFG-012",
    requirement="An exclusion annotated on one end of a connection between two pods MUST NOT exempt"
    " the other end.",
    spec="SPEC-13.3",
    level=MUST,
    profile=Profile.CORE,
    features=PORT_LISTS,
)
def test_annotation_exempts_one_end_of_a_connection(mesh: Mesh) -> None:
    plain = mesh.pod()
    dialler = mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070"})
    listener = mesh.pod(annotations={INBOUND_PORTS: "6379,7070"})

    assert dialler.connect(plain, 6379).captured_inbound
    assert plain.connect(listener, 6379).captured_outbound
    assert dialler.connect(listener, 6379).direct
