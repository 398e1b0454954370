"""The mesh scope and the pod scope of the lists."""

from __future__ import annotations

from pytest_fsmredir import (
    Case,
    Feature,
    Mesh,
    Need,
    Pod,
    Profile,
    Programmer,
    Route,
    Section,
    range_of,
)
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
    SEED_INBOUND_PORTS,
    SEED_OUTBOUND_PORTS,
)

section = Section(13, Profile.CORE, ALL_LISTS)


def _exclusions_of_mesh(mesh: Mesh) -> dict[str, list[object]]:
    return {
        MESH_EXCLUDED_RANGES: [range_of(mesh.server)],
        MESH_EXCLUDED_OUTBOUND_PORTS: [6379],
        MESH_EXCLUDED_INBOUND_PORTS: [7070],
    }


def _exclusions_of_pod(mesh: Mesh) -> dict[str, str]:
    return {
        EXCLUDED_RANGES: range_of(mesh.server),
        EXCLUDED_OUTBOUND_PORTS: "6379",
        EXCLUDED_INBOUND_PORTS: "7070",
    }


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


@section.check("CFG-001", "13.2")
def test_annotations_alone_take_effect(mesh: Mesh) -> None:
    """Each of the four lists MUST take effect on a pod by its annotation alone."""
    _assert_each_exclusion_acts(mesh, mesh.pod(annotations=_exclusions_of_pod(mesh)))
    _assert_server_is_included(mesh, mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)}))


@section.check("CFG-002", "13.1")
def test_mesh_config_alone_takes_effect(mesh: Mesh) -> None:
    """Each of the four lists MUST take effect on every pod by the MeshConfig alone, on pods
    annotated with other lists too."""
    inclusions = {MESH_INCLUDED_RANGES: [range_of(mesh.server)]}
    others = {
        EXCLUDED_INBOUND_PORTS: "9090",
        EXCLUDED_OUTBOUND_PORTS: "9090",
        EXCLUDED_RANGES: range_of(mesh.node),
    }

    _assert_each_exclusion_acts(mesh, mesh.pod(mesh_config=_exclusions_of_mesh(mesh)))
    annotated = mesh.pod(mesh_config=inclusions, annotations=others)
    _assert_server_is_included(mesh, annotated)
    assert mesh.client.connect(annotated, 9090).direct


@section.check("CFG-019", "13.1", families=(4,))
def test_mesh_lists_act_beside_other_annotations(mesh: Mesh, programmer: Programmer) -> None:
    """Each list of the MeshConfig MUST take effect on a pod that is annotated with another list
    and not with this one."""
    of_mesh, of_pod = _exclusions_of_mesh(mesh), _exclusions_of_pod(mesh)

    for own, annotation in zip(of_mesh, of_pod, strict=True):
        others = {field: listed for field, listed in of_mesh.items() if field != own}
        pod = mesh.bare_pod()
        programmer.program(pod, annotations={annotation: of_pod[annotation]}, mesh_config=others)
        _assert_each_exclusion_acts(mesh, pod)
    pod, inbound = mesh.bare_pod(), {MESH_EXCLUDED_INBOUND_PORTS: [7070]}
    programmer.program(
        pod, annotations={INCLUDED_RANGES: range_of(mesh.server)}, mesh_config=inbound
    )
    _assert_server_is_included(mesh, pod)
    assert mesh.client.connect(pod, 7070).direct


@section.check("CFG-003", "13.5", features=EXCLUSIONS)
def test_exclusions_of_both_scopes_are_united(mesh: Mesh) -> None:
    """With an exclusion list at both scopes, the pod MUST follow the union of the two."""
    of_mesh: dict[str, list[object]] = {
        MESH_EXCLUDED_RANGES: [range_of(mesh.server)],
        MESH_EXCLUDED_OUTBOUND_PORTS: [6379],
        MESH_EXCLUDED_INBOUND_PORTS: [9090],
    }
    of_pod = {
        EXCLUDED_RANGES: range_of(mesh.client),
        EXCLUDED_OUTBOUND_PORTS: "7070",
        EXCLUDED_INBOUND_PORTS: "9191",
    }
    pod, neighbour = mesh.pod(mesh_config=of_mesh, annotations=of_pod), mesh.pod()

    assert pod.connect(neighbour, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for excluded in (mesh.server, mesh.client):
        assert pod.connect(excluded, 8080).direct
    for port in (6379, 7070):
        assert pod.connect(neighbour, port).captured_inbound
    for port in (9090, 9191):
        assert mesh.client.connect(pod, port).direct


@section.check("CFG-009", "13.3", features=PORT_EXCLUSIONS)
def test_annotation_is_for_its_own_pod_only(mesh: Mesh) -> None:
    """An annotation MUST NOT affect any other pod, made earlier or later."""
    lists = {EXCLUDED_OUTBOUND_PORTS: "6379", EXCLUDED_INBOUND_PORTS: "7070"}
    earlier = mesh.pod()
    annotated = mesh.pod(annotations=lists)
    later = mesh.pod(fresh=True)

    assert annotated.connect(mesh.server, 6379).direct
    assert mesh.client.connect(annotated, 7070).direct
    for pod in (earlier, later):
        assert pod.connect(mesh.server, 6379).captured_outbound
        assert mesh.client.connect(pod, 7070).captured_inbound


@section.check("CFG-012", "13.3", features=PORT_EXCLUSIONS)
def test_annotation_exempts_one_end_of_a_connection(mesh: Mesh) -> None:
    """An exclusion annotated on one end of a connection between two pods MUST NOT exempt the other
    end."""
    plain = mesh.pod()
    dialler = mesh.pod(annotations=SEED_OUTBOUND_PORTS)
    listener = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert dialler.connect(plain, 6379).captured_inbound
    assert plain.connect(listener, 6379).captured_outbound
    assert dialler.connect(listener, 6379).direct


@section.check(
    "OPX-002", "13.4", profile=Profile.EXCLUSIONS, features={Feature.OUTBOUND_PORT_EXCLUSION}
)
def test_every_outbound_port_of_a_list_is_direct(mesh: Mesh) -> None:
    """Each comma-separated port of the outbound port exclusion list MUST count, the seed's
    6379,7070 exempting both."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.server, 7070).direct


@section.check(
    "OPX-007", "13.5", profile=Profile.EXCLUSIONS, features={Feature.OUTBOUND_PORT_EXCLUSION}
)
def test_outbound_port_lists_of_both_scopes_add_up(mesh: Mesh) -> None:
    """Fifteen outbound ports excluded for the mesh and fifteen for the pod MUST all be direct in
    that pod."""
    of_mesh, of_pod = range(21000, 21015), range(22000, 22030, 2)
    pod = mesh.pod(
        mesh_config={MESH_EXCLUDED_OUTBOUND_PORTS: list(of_mesh)},
        annotations={EXCLUDED_OUTBOUND_PORTS: ",".join(map(str, of_pod))},
    )

    for port in (20999, 21015, 21500, 22001, 22027):
        assert pod.connect(mesh.server, port).captured_outbound
    for port in (*of_mesh, *of_pod):
        assert pod.connect(mesh.server, port).direct


@section.check_each(
    Case("OIX-012", "13.5", "exclusion lists of both scopes add up", rest="", **EXCLUDING_RANGES),
    Case(
        "OII-015", "13.5", "inclusion lists of both scopes add up", rest=", and nothing else",
        **INCLUDING_RANGES,
    ),
    needs={Need.REMOTE_ADDRESSES, Need.DEFAULT_CLUSTER_RANGES},
    families=(4,),
)  # fmt: skip
def test_range_lists_of_both_scopes_add_up(
    mesh: Mesh, *, listed: str, in_mesh: str, inside: Route, outside: Route
) -> None:
    """Ranges {done} for the mesh and ranges {done} for the pod MUST all be {fate} in that
    pod{rest}."""
    pod = mesh.pod(
        mesh_config={in_mesh: ["1.1.1.1/32", "2.2.2.2/24"]},
        annotations={listed: "10.244.0.0/16,10.96.0.0/16"},
    )

    for address in ("1.1.1.2", "2.2.3.0", "10.243.255.255", "10.245.0.0", "10.97.0.0"):
        assert pod.connect(address, 8080).takes(outside)
    for address in ("1.1.1.1", "2.2.2.255", "10.244.0.0", "10.244.255.255", "10.96.0.1"):
        assert pod.connect(address, 8080).takes(inside)


@section.check(
    "LIFE-006", "13.11", profile=Profile.LIFECYCLE, features={Feature.OUTBOUND_PORT_EXCLUSION}
)
def test_changed_list_reaches_a_pod_when_it_is_programmed(mesh: Mesh) -> None:
    """A changed mesh-wide list MUST act in full on pods programmed from then on, and not on those
    programmed before."""
    before = mesh.pod(mesh_config={MESH_EXCLUDED_OUTBOUND_PORTS: [6379, 7070]})
    after = mesh.pod(mesh_config={MESH_EXCLUDED_OUTBOUND_PORTS: [7070, 9090]}, fresh=True)

    assert before.connect(mesh.server, 6379).direct
    assert before.connect(mesh.server, 9090).captured_outbound
    assert after.connect(mesh.server, 6379).captured_outbound
    assert after.connect(mesh.server, 7070).direct
    assert after.connect(mesh.server, 9090).direct
