"""How lists are read: blanks, extremes and empty lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from pytest_fsmredir import INFO, MUST, Feature, Mesh, Place, Pod, Profile, Programmer, check

IP_EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"
IP_INCLUSIONS = "flomesh.io/outbound-ip-range-inclusion-list"
OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"

IP_INCLUSIONS_OF_MESH = "outboundIPRangeInclusionList"

EMPTY_ANNOTATIONS = dict.fromkeys((IP_EXCLUSIONS, IP_INCLUSIONS, OUTBOUND_PORTS, INBOUND_PORTS), "")

PORT_LISTS = {Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION}
ALL_LISTS = PORT_LISTS | {
    Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    Feature.OUTBOUND_IP_RANGE_INCLUSION,
}


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _assert_all_captured(mesh: Mesh, pod: Pod) -> None:
    for host in (mesh.server, mesh.client):
        for port in (1, 6379, 8080):
            assert pod.connect(host, port).captured_outbound
            assert host.connect(pod, port).captured_inbound


def _exclusions_of_mesh(ranges: list[str], ports: list[int]) -> dict[str, Sequence[object]]:
    return {
        "outboundIPRangeExclusionList": ranges,
        "outboundPortExclusionList": ports,
        "inboundPortExclusionList": ports,
    }


def _assert_exclusions_act(mesh: Mesh, pod: Pod, ports: Iterable[int]) -> None:
    """Excluded are the server's address, and some ports in both directions."""
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).direct
    for port in ports:
        assert pod.connect(mesh.client, port).direct
        assert mesh.client.connect(pod, port).direct


def _assert_server_is_included(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct


@check(
    "CFG-005",
    requirement="Blanks around the commas of a list MUST NOT change what it means.",
    spec="SPEC-13.6",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=PORT_LISTS | {Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_blanks_around_commas_mean_nothing(mesh: Mesh) -> None:
    ranges = f"{_only(mesh.client)} , {_only(mesh.server)}"
    lists = {OUTBOUND_PORTS: "6379, 7070", INBOUND_PORTS: "6379 ,7070", IP_EXCLUSIONS: ranges}
    pod, neighbour = mesh.pod(annotations=lists), mesh.pod()

    assert pod.connect(neighbour, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for host in (mesh.client, mesh.server):
        assert pod.connect(host, 8080).direct
    for port in (6379, 7070):
        assert pod.connect(neighbour, port).captured_inbound
        assert mesh.client.connect(pod, port).direct


@check(
    "CFG-010",
    requirement="The ports 1 and 65535 MUST be honoured in either port list, and the ports next to"
    " them stay captured.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=PORT_LISTS,
)
def test_lowest_and_highest_port_can_be_excluded(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={OUTBOUND_PORTS: "1,65535", INBOUND_PORTS: "65535,1"})

    for port in (2, 32768, 65534):
        assert pod.connect(mesh.server, port).captured_outbound
        assert mesh.client.connect(pod, port).captured_inbound
    for port in (1, 65535):
        assert pod.connect(mesh.server, port).direct
        assert mesh.client.connect(pod, port).direct


@check(
    "CFG-011",
    requirement="An annotation that is present with an empty value MAY be refused or be taken as no"
    " list; a refusal is recorded.",
    spec="SPEC-13.10",
    level=INFO,
    profile=Profile.CORE,
    features=ALL_LISTS,
)
def test_empty_annotation_is_taken_as_no_list(mesh: Mesh) -> None:
    _assert_all_captured(mesh, mesh.pod(annotations=EMPTY_ANNOTATIONS))


@check(
    "CFG-017",
    requirement="Empty port exclusion lists MUST act as no lists, excluding no port in either"
    " direction.",
    spec="SPEC-13.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=PORT_LISTS,
)
def test_empty_port_lists_exclude_nothing(mesh: Mesh) -> None:
    empty: list[int] = []
    lists = {"outboundPortExclusionList": empty, "inboundPortExclusionList": empty}

    _assert_all_captured(mesh, mesh.pod(mesh_config=lists))


@check(
    "CFG-018",
    requirement="Empty annotations, where they are not refused, MUST act as no lists, everything"
    " staying captured.",
    spec="SPEC-13.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=ALL_LISTS,
)
def test_empty_annotations_never_match_everything(mesh: Mesh) -> None:
    _assert_all_captured(mesh, mesh.pod())
    if mesh.try_pod(annotations=EMPTY_ANNOTATIONS).accepted:
        _assert_all_captured(mesh, mesh.pod(annotations=EMPTY_ANNOTATIONS))


@check(
    "CFG-020",
    requirement="An empty annotation, where it is not refused, MUST act as no list, the mesh-wide"
    " list of its kind keeping its effect.",
    spec="SPEC-13.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=ALL_LISTS,
    families=(4,),
)
def test_empty_annotations_leave_the_lists_of_the_mesh_alone(
    mesh: Mesh, programmer: Programmer
) -> None:
    pod, server = mesh.bare_pod(), _only(mesh.server)
    exclusions = _exclusions_of_mesh([server], [6379])

    for name in (IP_EXCLUSIONS, OUTBOUND_PORTS, INBOUND_PORTS):
        if programmer.try_program(pod, annotations={name: ""}, mesh_config=exclusions).accepted:
            _assert_exclusions_act(mesh, pod, [6379])
            pod = mesh.bare_pod()
    inclusions = {IP_INCLUSIONS_OF_MESH: [server]}
    if programmer.try_program(
        pod, annotations={IP_INCLUSIONS: ""}, mesh_config=inclusions
    ).accepted:
        _assert_server_is_included(mesh, pod)


@check(
    "CFG-021",
    requirement="Every item of a long mesh-wide list MUST be honoured, whichever of the four lists"
    " it is.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features=ALL_LISTS,
    families=(4,),
)
def test_long_lists_of_the_mesh_are_honoured_to_the_end(mesh: Mesh, programmer: Programmer) -> None:
    between = [str(mesh.subnet(number)) for number in range(30)]
    ranges = [_only(mesh.node), *between, _only(mesh.server)]
    ports = [7070, *range(21000, 21030), 6379]
    exempting, capturing = mesh.bare_pod(), mesh.bare_pod()

    programmer.program(exempting, mesh_config=_exclusions_of_mesh(ranges, ports))
    _assert_exclusions_act(mesh, exempting, [7070, 21015, 6379])
    assert exempting.connect(mesh.node, 8080).direct
    programmer.program(capturing, mesh_config={IP_INCLUSIONS_OF_MESH: ranges})
    _assert_server_is_included(mesh, capturing)
    assert capturing.connect(mesh.node, 8080).captured_outbound
