"""Items that are repeated, within a list and across its scopes."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from pytest_fsmredir import Feature, Mesh, Need, Pod, Profile, Section, range_of
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    EXCLUSIONS,
    INCLUDED_RANGES,
    MESH_EXCLUDED_INBOUND_PORTS,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
)

section = Section(13, Profile.CORE, EXCLUSIONS)

OUTBOUND_ONLY, INBOUND_ONLY = 3306, 5432
Times = dict[int, tuple[int, int]]
"""How often the annotation names an item, and how often the MeshConfig does."""
# Not in order, and with neighbours, with items two apart, and with the greatest in the middle.
PORTS: Times = {
    7070: (2, 0), 6379: (0, 2), 65534: (1, 0), 9092: (1, 1), 6381: (3, 0), 22: (0, 3),
    9091: (2, 1), 443: (1, 2), 24: (0, 1), 2379: (2, 2),
}  # fmt: skip
# 253 and 254 are neighbours that no range of two addresses holds.
HOSTS: Times = {
    77: (2, 0), 10: (0, 2), 254: (1, 0), 12: (1, 1), 200: (3, 0), 3: (0, 3),
    198: (2, 1), 199: (1, 2), 1: (0, 1), 100: (2, 2), 253: (0, 1),
}  # fmt: skip


def _in_rounds(times: Iterable[tuple[int, int]]) -> list[int]:
    """Return each item as often as is said, other items in between."""
    said = list(times)
    return [item for turn in range(3) for item, often in said if turn < often]


def _in_pod(times: Times) -> list[int]:
    return _in_rounds((item, own) for item, (own, _) in times.items())


def _in_mesh(times: Times) -> list[int]:
    """Return what the MeshConfig names, the repeated items side by side."""
    return [item for item, (_, shared) in times.items() for _ in range(shared)]


def _beside(items: Iterable[int]) -> list[int]:
    """Return what is not among some items, and is one or two away from one."""
    listed = set(items)
    near = {item + step for item in listed for step in (-2, -1, 1, 2)} - listed
    return sorted(item for item in near if 0 < item < 1 << 16)


def _exclusions_of_pod(mesh: Mesh) -> dict[str, str]:
    server, client = range_of(mesh.server), range_of(mesh.client)
    inbound = [INBOUND_ONLY, *_in_mesh(PORTS)]
    return {
        EXCLUDED_RANGES: ",".join([server, client, *_ranges(mesh, _in_pod(HOSTS)), server]),
        EXCLUDED_OUTBOUND_PORTS: ",".join(map(str, _in_pod(PORTS))),
        EXCLUDED_INBOUND_PORTS: ",".join(map(str, inbound)),
    }


def _exclusions_of_mesh(mesh: Mesh) -> dict[str, list[object]]:
    return {
        MESH_EXCLUDED_RANGES: [range_of(mesh.client), *_ranges(mesh, _in_mesh(HOSTS))],
        MESH_EXCLUDED_OUTBOUND_PORTS: [*_in_mesh(PORTS), OUTBOUND_ONLY],
        MESH_EXCLUDED_INBOUND_PORTS: [*_in_pod(PORTS)],
    }


def _ranges(mesh: Mesh, numbers: Iterable[int]) -> list[str]:
    """Return ranges of one address, by its number in a subnet."""
    return [str(ip_network(mesh.subnet(5)[number])) for number in numbers]


def _including(mesh: Mesh) -> Pod:
    """Return a pod with an inclusion list that holds blanks and repeated items."""
    ranges = _ranges(mesh, _in_pod(HOSTS))
    return mesh.pod(
        annotations={INCLUDED_RANGES: f"{ranges[0]} ,  {' ,'.join(ranges[1:-1])}, {ranges[-1]} "},
        mesh_config={MESH_INCLUDED_RANGES: _ranges(mesh, _in_mesh(HOSTS))},
    )


@section.check("CFG-004", "13.6")
def test_repeated_items_are_harmless(mesh: Mesh) -> None:
    """An item repeated within a list or across both scopes MUST NOT change what the list means."""
    lists, neighbour = _exclusions_of_pod(mesh), mesh.pod()
    pod = mesh.pod(annotations=lists, mesh_config=_exclusions_of_mesh(mesh))

    assert pod.connect(neighbour, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).direct
    for port in PORTS:
        assert pod.connect(neighbour, port).captured_inbound  # direct so far: by its own sidecar
        assert mesh.client.connect(pod, port).direct


@section.check("CFG-023", "13.12")
def test_port_lists_are_sets_of_their_own_direction(mesh: Mesh) -> None:
    """A port list in any order, with ports that are close to each other, MUST exempt the ports
    that it names, in its own direction, and no others."""
    lists, neighbour = _exclusions_of_pod(mesh), mesh.pod()
    pod = mesh.pod(annotations=lists, mesh_config=_exclusions_of_mesh(mesh))

    assert pod.connect(neighbour, OUTBOUND_ONLY).captured_inbound
    assert mesh.client.connect(pod, INBOUND_ONLY).direct
    for fate in pod.connect_all(neighbour, [*_beside(PORTS), INBOUND_ONLY]):
        assert fate.captured_outbound
    for fate in mesh.client.connect_all(pod, [*_beside(PORTS), OUTBOUND_ONLY]):
        assert fate.captured_inbound


@section.check("OIX-018", "13.12", profile=Profile.EXCLUSIONS, needs={Need.REMOTE_ADDRESSES})
def test_excluded_ranges_are_a_set(mesh: Mesh) -> None:
    """An exclusion list of ranges in any order, some repeated and some close to each other, MUST
    exempt the addresses that it names and no others."""
    lists = _exclusions_of_pod(mesh)
    pod = mesh.pod(annotations=lists, mesh_config=_exclusions_of_mesh(mesh))

    for number in _beside(HOSTS):
        assert pod.connect(str(mesh.subnet(5)[0] + number), 8080).captured_outbound
    for number in HOSTS:
        assert pod.connect(str(mesh.subnet(5)[number]), 8080).direct


@section.check(
    "OII-018",
    "13.6",
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_blanks_and_doubles_in_an_inclusion_list_mean_nothing(mesh: Mesh) -> None:
    """Blanks around the commas of an inclusion list, and items repeated in it or at both scopes,
    MUST NOT change what it means."""
    pod = _including(mesh)

    assert pod.connect(mesh.server, 8080).direct
    for number in HOSTS:
        assert pod.connect(str(mesh.subnet(5)[number]), 8080).captured_outbound


@section.check(
    "OII-020",
    "13.12",
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_included_ranges_are_a_set(mesh: Mesh) -> None:
    """An inclusion list of ranges in any order, some of which are close to each other, MUST leave
    the addresses between them direct."""
    pod = _including(mesh)

    assert pod.connect(str(mesh.subnet(5)[77]), 8080).captured_outbound
    for number in _beside(HOSTS):
        assert pod.connect(str(mesh.subnet(5)[0] + number), 8080).direct
