"""Items that must be refused, or be honoured in their plain meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pytest_fsmredir import Case, Feature, Mesh, Pod, Profile, Programmer, Section, range_of
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    EXCLUDING_RANGES,
    INCLUDED_RANGES,
    INCLUDING_RANGES,
    MESH_EXCLUDED_INBOUND_PORTS,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
    PORT_EXCLUSIONS,
    SEED_INBOUND_PORTS,
    SEED_OUTBOUND_PORTS,
    SEED_PORTS,
)

section = Section(13, Profile.EXCLUSIONS, PORT_EXCLUSIONS)

T = TypeVar("T")
# Not for iptables to decide: it takes "http" and "0x50".
NO_PORTS = (
    "0", "-1", "65536", "70000", "http", "80.5", "0x50", "8_0", "80x", "4294967376"
)  # fmt: skip
# The last is 80 in 32 bits.
NO_RANGES = {
    4: (
        "10.0.0.0/33",
        "!10.0.0.0/8",
        "1.2.3.4.5/24",
        "10.0.0.0/",
        "1.0.0.300/24",
        "10.0.0.0/8/9",
        "10.0.0.0/-8",
    ),
    6: (
        "2001:db8::/129",
        "!2001::/16",
        "2001:db8/32",
        "2001:db8::/",
        "1::2::3/64",
        "2001::/16/9",
        "2001::/-16",
    ),
}
# Malformed port lists with a plain meaning, with ports that they hold and their neighbours.
PLAIN = {
    "80-90": ((80, 85, 90), (79, 91)),
    "80,,90": ((80, 90), (79, 85, 91)),
    "80:90": ((80, 85, 90), (79, 91)),
    "80 90": ((80, 90), (79, 85, 91)),
    "80\n90": ((80, 90), (79, 85, 91)),
    "80;90": ((80, 90), (79, 85, 91)),
    "[80,90]": ((80, 90), (79, 85, 91)),
    "80,": ((80,), (79, 81)),
    ",80": ((80,), (79, 81)),
    "0443": ((443,), (291, 442, 444)),
}


def _assert_captured(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _assert_not_programmed(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct


def _assert_plain(mesh: Mesh, pod: Pod, name: str, value: str) -> None:
    """A port list that was accepted is honoured in its plain meaning, no port more or less."""
    listed, others = PLAIN[value]
    claims = []
    for port in (*listed, *others):
        if name == EXCLUDED_OUTBOUND_PORTS:
            fate = pod.connect(mesh.server, port)
            claims.append(fate.direct if port in listed else fate.captured_outbound)
        else:
            fate = mesh.client.connect(pod, port)
            claims.append(fate.direct if port in listed else fate.captured_inbound)
    for claim in claims:
        assert claim, f"{name} {value!r} was accepted, but not in its plain meaning"


def _malformed(good: T, bad: Sequence[T]) -> list[tuple[T, T]]:
    """Put each bad item into a list with a good one, by turns behind it and before it."""
    return [(good, item) if turn % 2 == 0 else (item, good) for turn, item in enumerate(bad)]


@section.check("CFG-006", "13.8", features={Feature.OUTBOUND_PORT_EXCLUSION}, families=(4,))
def test_outbound_list_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    """An outbound port list with an item that is not a port from 1 to 65535 MUST be refused,
    unless its meaning is plain and honoured."""
    _assert_captured(mesh, mesh.pod(annotations=SEED_OUTBOUND_PORTS))
    for value in NO_PORTS if mesh.exhaustive else ("0", "65536"):
        assert mesh.try_pod(annotations={EXCLUDED_OUTBOUND_PORTS: value}).refused
    for value in PLAIN if mesh.exhaustive else ("80-90", "80,,90"):
        if mesh.try_pod(annotations={EXCLUDED_OUTBOUND_PORTS: value}).accepted:
            _assert_plain(
                mesh,
                mesh.pod(annotations={EXCLUDED_OUTBOUND_PORTS: value}),
                EXCLUDED_OUTBOUND_PORTS,
                value,
            )


@section.check_each(
    Case(
        "CFG-007", "13.8", "exclusion list with a bad range is refused", first=0,
        **EXCLUDING_RANGES,
    ),
    Case(
        "CFG-014", "13.8", "inclusion list with a bad range is refused", first=1,
        **INCLUDING_RANGES,
    ),
)  # fmt: skip
def test_list_with_a_bad_range_is_refused(mesh: Mesh, *, listed: str, first: int) -> None:
    """An {kind} list with an item that names no range of addresses MUST be refused."""
    values = NO_RANGES[mesh.family]
    good = range_of(mesh.client if listed == EXCLUDED_RANGES else mesh.server)

    _assert_captured(mesh, mesh.pod(annotations={listed: good}))
    for value in values if mesh.exhaustive else values[first : first + 2]:
        assert mesh.try_pod(annotations={listed: value}).refused


@section.check("CFG-013", "13.8", features={Feature.INBOUND_PORT_EXCLUSION}, families=(4,))
def test_inbound_list_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    """An inbound port list with an item that is not a port from 1 to 65535 MUST be refused."""
    _assert_captured(mesh, mesh.pod(annotations=SEED_INBOUND_PORTS))
    for value in NO_PORTS if mesh.exhaustive else ("-1", "70000", "http"):
        assert mesh.try_pod(annotations={EXCLUDED_INBOUND_PORTS: value}).refused


@section.check("CFG-015", "13.8")
def test_refused_port_lists_leave_nothing_behind(mesh: Mesh, programmer: Programmer) -> None:
    """A port list that is refused, from either scope, MUST NOT leave any rule behind."""
    pod, good = (
        mesh.bare_pod(),
        SEED_PORTS,
    )
    # The second time it is for the look at flows of the other family.
    values, ports = (NO_PORTS, (0, -1, 65536, 70000)) if mesh.family == 4 else (NO_PORTS[:1], (0,))

    for name in good:
        for items in _malformed("6379", values):
            bad = {name: ",".join(items)}
            assert programmer.try_program(pod, annotations=good | bad).refused_with_a_message
    for field in (MESH_EXCLUDED_OUTBOUND_PORTS, MESH_EXCLUDED_INBOUND_PORTS):
        for listed in _malformed(6379, ports):
            ended = programmer.try_program(pod, annotations=good, mesh_config={field: listed})
            assert ended.refused_with_a_message
    _assert_not_programmed(mesh, pod)
    programmer.program(pod, annotations=good, mesh_config={})
    _assert_captured(mesh, pod)


@section.check(
    "CFG-016",
    "13.8",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_refused_range_lists_leave_nothing_behind(mesh: Mesh, programmer: Programmer) -> None:
    """A range list that is refused, from either scope, MUST NOT leave any rule behind."""
    pod, server, client = mesh.bare_pod(), range_of(mesh.server), range_of(mesh.client)
    good = {EXCLUDED_RANGES: client, INCLUDED_RANGES: f"{server},{client}"}
    own, other = NO_RANGES[mesh.family], NO_RANGES[6 if mesh.family == 4 else 4]
    # Without a prefix length the meaning is plain; a bad range of the other family is found late.
    malformed = _malformed(server, [*(value for value in own if "/" in value), other[0]])

    for name in good:
        for items in malformed:
            bad = {name: ",".join(items)}
            assert programmer.try_program(pod, annotations=good | bad).refused_with_a_message
    for field in (MESH_EXCLUDED_RANGES, MESH_INCLUDED_RANGES):
        for items in malformed:
            ended = programmer.try_program(pod, annotations=good, mesh_config={field: items})
            assert ended.refused_with_a_message
    _assert_not_programmed(mesh, pod)
    programmer.program(pod, annotations=good, mesh_config={})
    _assert_captured(mesh, pod)


@section.check("CFG-022", "13.8", families=(4,))
def test_port_list_spelt_otherwise_keeps_its_meaning(mesh: Mesh, programmer: Programmer) -> None:
    """A port list in another notation MUST be refused, or be honoured in its plain meaning, no
    port more or less."""
    pod, both = mesh.bare_pod(), (EXCLUDED_INBOUND_PORTS, EXCLUDED_OUTBOUND_PORTS)

    for turn, value in enumerate(PLAIN):
        for name in both if mesh.exhaustive else both[turn % 2 :][:1]:
            if programmer.try_program(pod, annotations={name: value}).accepted:
                _assert_plain(mesh, pod, name, value)
                pod = mesh.bare_pod()
    programmer.program(pod, annotations={})
    _assert_captured(mesh, pod)


@section.check("CFG-024", "13.8", families=(4,))
def test_port_list_of_the_mesh_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    """A port list of the MeshConfig with an item that is not a port from 1 to 65535 MUST be
    refused."""
    fields = (MESH_EXCLUDED_OUTBOUND_PORTS, MESH_EXCLUDED_INBOUND_PORTS)

    _assert_captured(mesh, mesh.pod(mesh_config={field: [6379, 7070] for field in fields}))
    for field in fields:
        for port in (0, -1, 65536, 70000) if mesh.exhaustive else (0, 70000):
            assert mesh.try_pod(mesh_config={field: [6379, port]}).refused


@section.check(
    "CFG-025",
    "13.8",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_range_list_of_the_mesh_with_a_bad_range_is_refused(mesh: Mesh) -> None:
    """A range list of the MeshConfig with an item that names no range of addresses MUST be
    refused."""
    fields = (MESH_EXCLUDED_RANGES, MESH_INCLUDED_RANGES)
    server, values = range_of(mesh.server), NO_RANGES[mesh.family]

    _assert_captured(mesh, mesh.pod(mesh_config={fields[1]: [server]}))
    for turn, field in enumerate(fields):
        for value in values if mesh.exhaustive else values[turn : turn + 1]:
            assert mesh.try_pod(mesh_config={field: [server, value]}).refused
