"""How lists are read: blanks, extremes and empty lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_fsmredir import Case, Mesh, Pod, Profile, Programmer, Section, range_of
from pytest_fsmredir.model.vocabulary import (
    ALL_LISTS,
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    EXCLUDING_RANGES,
    EXCLUSIONS,
    INCLUDED_RANGES,
    INCLUDING_RANGES,
    MESH_EXCLUDED_INBOUND_PORTS,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
    PORT_EXCLUSIONS,
)

section = Section(13, Profile.EXCLUSIONS, ALL_LISTS)

EMPTY_ANNOTATIONS = dict.fromkeys(
    (EXCLUDED_RANGES, INCLUDED_RANGES, EXCLUDED_OUTBOUND_PORTS, EXCLUDED_INBOUND_PORTS), ""
)


def _assert_all_captured(mesh: Mesh, pod: Pod) -> None:
    for host in (mesh.server, mesh.client):
        for port in (1, 6379, 8080):
            assert pod.connect(host, port).captured_outbound
            assert host.connect(pod, port).captured_inbound


def _exclusions_of_mesh(ranges: list[str], ports: list[int]) -> dict[str, Sequence[object]]:
    return {
        MESH_EXCLUDED_RANGES: ranges,
        MESH_EXCLUDED_OUTBOUND_PORTS: ports,
        MESH_EXCLUDED_INBOUND_PORTS: ports,
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


@section.check("CFG-005", "13.6", features=EXCLUSIONS)
def test_blanks_around_commas_mean_nothing(mesh: Mesh) -> None:
    """Blanks around the commas of a list MUST NOT change what it means."""
    ranges = f"{range_of(mesh.client)} , {range_of(mesh.server)}"
    lists = {
        EXCLUDED_OUTBOUND_PORTS: "6379, 7070",
        EXCLUDED_INBOUND_PORTS: "6379 ,7070",
        EXCLUDED_RANGES: ranges,
    }
    pod, neighbour = mesh.pod(annotations=lists), mesh.pod()

    assert pod.connect(neighbour, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for host in (mesh.client, mesh.server):
        assert pod.connect(host, 8080).direct
    for port in (6379, 7070):
        assert pod.connect(neighbour, port).captured_inbound
        assert mesh.client.connect(pod, port).direct


@section.check("CFG-010", "13.7", features=PORT_EXCLUSIONS)
def test_lowest_and_highest_port_can_be_excluded(mesh: Mesh) -> None:
    """The ports 1 and 65535 MUST be honoured in either port list, and the ports next to them stay
    captured."""
    pod = mesh.pod(
        annotations={EXCLUDED_OUTBOUND_PORTS: "65535,443,1", EXCLUDED_INBOUND_PORTS: "65535,1"}
    )

    for port in (2, 32768, 65534):
        assert pod.connect(mesh.server, port).captured_outbound
        assert mesh.client.connect(pod, port).captured_inbound
    for port in (1, 65535):
        assert pod.connect(mesh.server, port).direct
        assert mesh.client.connect(pod, port).direct


@section.check("CFG-011", "13.10", profile=Profile.CORE)
def test_empty_annotation_is_taken_as_no_list(mesh: Mesh) -> None:
    """An annotation that is present with an empty value MAY be refused or be taken as no list; a
    refusal is recorded."""
    _assert_all_captured(mesh, mesh.pod(annotations=EMPTY_ANNOTATIONS))


@section.check("CFG-017", "13.9", features=PORT_EXCLUSIONS)
def test_empty_port_lists_exclude_nothing(mesh: Mesh) -> None:
    """Empty port exclusion lists MUST act as no lists, excluding no port in either direction."""
    empty: list[int] = []
    lists = {MESH_EXCLUDED_OUTBOUND_PORTS: empty, MESH_EXCLUDED_INBOUND_PORTS: empty}

    _assert_all_captured(mesh, mesh.pod(mesh_config=lists))


@section.check("CFG-018", "13.9")
def test_empty_annotations_never_match_everything(mesh: Mesh) -> None:
    """Empty annotations, where they are not refused, MUST act as no lists, everything staying
    captured."""
    _assert_all_captured(mesh, mesh.pod())
    if mesh.try_pod(annotations=EMPTY_ANNOTATIONS).accepted:
        _assert_all_captured(mesh, mesh.pod(annotations=EMPTY_ANNOTATIONS))


@section.check("CFG-020", "13.9", families=(4,))
def test_empty_annotations_leave_the_lists_of_the_mesh_alone(
    mesh: Mesh, programmer: Programmer
) -> None:
    """An empty annotation, where it is not refused, MUST act as no list, the mesh-wide list of its
    kind keeping its effect."""
    pod, server = mesh.bare_pod(), range_of(mesh.server)
    exclusions = _exclusions_of_mesh([server], [6379])

    for name in (EXCLUDED_RANGES, EXCLUDED_OUTBOUND_PORTS, EXCLUDED_INBOUND_PORTS):
        if programmer.try_program(pod, annotations={name: ""}, mesh_config=exclusions).accepted:
            _assert_exclusions_act(mesh, pod, [6379])
            pod = mesh.bare_pod()
    inclusions = {MESH_INCLUDED_RANGES: [server]}
    if programmer.try_program(
        pod, annotations={INCLUDED_RANGES: ""}, mesh_config=inclusions
    ).accepted:
        _assert_server_is_included(mesh, pod)


@section.check("CFG-021", "13.7", families=(4,))
def test_long_lists_of_the_mesh_are_honoured_to_the_end(mesh: Mesh, programmer: Programmer) -> None:
    """Every item of a long mesh-wide list MUST be honoured, whichever of the four lists it is."""
    between = [str(mesh.subnet(number)) for number in range(30)]
    ranges = [range_of(mesh.node), *between, range_of(mesh.server)]
    ports = [7070, *range(21000, 21030), 6379]
    exempting, capturing = mesh.bare_pod(), mesh.bare_pod()

    programmer.program(exempting, mesh_config=_exclusions_of_mesh(ranges, ports))
    _assert_exclusions_act(mesh, exempting, [7070, 21015, 6379])
    assert exempting.connect(mesh.node, 8080).direct
    programmer.program(capturing, mesh_config={MESH_INCLUDED_RANGES: ranges})
    _assert_server_is_included(mesh, capturing)
    assert capturing.connect(mesh.node, 8080).captured_outbound


@section.check_each(
    Case(
        "OIX-011", "13.9", "empty exclusion list excludes nothing", effect="excluding nothing",
        **EXCLUDING_RANGES,
    ),
    Case(
        "OII-004", "13.9", "empty inclusion list leaves everything captured",
        effect="leaving everything captured", **INCLUDING_RANGES,
    ),
)  # fmt: skip
def test_empty_range_list_acts_as_none(mesh: Mesh, *, in_mesh: str) -> None:
    """An empty {kind} list MUST act as no list, {effect}."""
    pod = mesh.pod(mesh_config={in_mesh: []})

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
