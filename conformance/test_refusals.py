"""Lists with items that no list can hold are refused, before any rule is set."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import TypeVar

from pytest_fsmredir import MUST, Feature, Mesh, Place, Pod, Profile, Programmer, check

T = TypeVar("T")

IP_EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"
IP_INCLUSIONS = "flomesh.io/outbound-ip-range-inclusion-list"
OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"

# Not for iptables to decide: it takes "http" and "0x50".
NO_PORTS = ("0", "-1", "65536", "70000", "http", "80.5", "0x50", "8_0")
NO_RANGES = {
    4: ("10.0.0.0/33", "!10.0.0.0/8", "1.2.3.4.5/24", "10.0.0.0/", "1.0.0.300/24"),
    6: ("2001:db8::/129", "!2001::/16", "2001:db8/32", "2001:db8::/", "1::2::3/64"),
}

# Malformed port lists with a plain meaning, with ports that they hold and their neighbours.
PLAIN = {
    "80-90": ((80, 85, 90), (79, 91)),
    "80,,90": ((80, 90), (79, 85, 91)),
    "80:90": ((80, 85, 90), (79, 91)),
    "80 90": ((80, 90), (79, 85, 91)),
    "80,": ((80,), (79, 81)),
    ",80": ((80,), (79, 81)),
    "0443": ((443,), (291, 442, 444)),
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


def _assert_plain(mesh: Mesh, pod: Pod, name: str, value: str) -> None:
    """A port list that was accepted is honoured in its plain meaning, no port more or less."""
    listed, others = PLAIN[value]
    claims = []
    for port in (*listed, *others):
        if name == OUTBOUND_PORTS:
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


@check(
    "CFG-006",
    requirement="An outbound port list with an item that is not a port from 1 to 65535 MUST be"
    " refused, unless its meaning is plain and honoured.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_outbound_list_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    _assert_captured(mesh, mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070"}))
    for value in NO_PORTS if mesh.exhaustive else ("0", "65536"):
        assert mesh.try_pod(annotations={OUTBOUND_PORTS: value}).refused
    for value in PLAIN if mesh.exhaustive else ("80-90", "80,,90"):
        if mesh.try_pod(annotations={OUTBOUND_PORTS: value}).accepted:
            _assert_plain(
                mesh, mesh.pod(annotations={OUTBOUND_PORTS: value}), OUTBOUND_PORTS, value
            )


@check(
    "CFG-007",
    requirement="An exclusion list with an item that names no range of addresses MUST be refused.",
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
    requirement="An inbound port list with an item that is not a port from 1 to 65535 MUST be"
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
    requirement="An inclusion list with an item that names no range of addresses MUST be refused.",
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
)
def test_refused_port_lists_leave_nothing_behind(mesh: Mesh, programmer: Programmer) -> None:
    pod, good = mesh.bare_pod(), {OUTBOUND_PORTS: "6379,7070", INBOUND_PORTS: "6379,7070"}
    # The second time it is for the look at flows of the other family.
    values, ports = (NO_PORTS, (0, -1, 65536, 70000)) if mesh.family == 4 else (NO_PORTS[:1], (0,))

    for name in good:
        for items in _malformed("6379", values):
            bad = {name: ",".join(items)}
            assert programmer.try_program(pod, annotations=good | bad).refused_with_a_message
    for field in ("outboundPortExclusionList", "inboundPortExclusionList"):
        for listed in _malformed(6379, ports):
            ended = programmer.try_program(pod, annotations=good, mesh_config={field: listed})
            assert ended.refused_with_a_message
    _assert_not_programmed(mesh, pod)
    programmer.program(pod, annotations=good, mesh_config={})
    _assert_captured(mesh, pod)


@check(
    "CFG-016",
    requirement="A range list that is refused, from either scope, MUST NOT leave any rule behind.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_refused_range_lists_leave_nothing_behind(mesh: Mesh, programmer: Programmer) -> None:
    pod, server, client = mesh.bare_pod(), _only(mesh.server), _only(mesh.client)
    good = {IP_EXCLUSIONS: client, IP_INCLUSIONS: f"{server},{client}"}
    own, other = NO_RANGES[mesh.family], NO_RANGES[6 if mesh.family == 4 else 4]
    # Without a prefix length the meaning is plain; a bad range of the other family is found late.
    malformed = _malformed(server, [*(value for value in own if "/" in value), other[0]])

    for name in good:
        for items in malformed:
            bad = {name: ",".join(items)}
            assert programmer.try_program(pod, annotations=good | bad).refused_with_a_message
    for field in ("outboundIPRangeExclusionList", "outboundIPRangeInclusionList"):
        for items in malformed:
            ended = programmer.try_program(pod, annotations=good, mesh_config={field: items})
            assert ended.refused_with_a_message
    _assert_not_programmed(mesh, pod)
    programmer.program(pod, annotations=good, mesh_config={})
    _assert_captured(mesh, pod)


@check(
    "CFG-022",
    requirement="A port list in another notation MUST be refused, or be honoured in its plain"
    " meaning, no port more or less.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_port_list_spelt_otherwise_keeps_its_meaning(mesh: Mesh, programmer: Programmer) -> None:
    pod, both = mesh.bare_pod(), (INBOUND_PORTS, OUTBOUND_PORTS)

    for turn, value in enumerate(PLAIN):
        for name in both if mesh.exhaustive else both[turn % 2 :][:1]:
            if programmer.try_program(pod, annotations={name: value}).accepted:
                _assert_plain(mesh, pod, name, value)
                pod = mesh.bare_pod()
    programmer.program(pod, annotations={})
    _assert_captured(mesh, pod)


@check(
    "CFG-024",
    requirement="A port list of the MeshConfig with an item that is not a port from 1 to 65535 MUST"
    " be refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_port_list_of_the_mesh_with_a_bad_port_is_refused(mesh: Mesh) -> None:
    fields = ("outboundPortExclusionList", "inboundPortExclusionList")

    _assert_captured(mesh, mesh.pod(mesh_config={field: [6379, 7070] for field in fields}))
    for field in fields:
        for port in (0, -1, 65536, 70000) if mesh.exhaustive else (0, 70000):
            assert mesh.try_pod(mesh_config={field: [6379, port]}).refused


@check(
    "CFG-025",
    requirement="A range list of the MeshConfig with an item that names no range of addresses MUST"
    " be refused.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_range_list_of_the_mesh_with_a_bad_range_is_refused(mesh: Mesh) -> None:
    fields = ("outboundIPRangeExclusionList", "outboundIPRangeInclusionList")
    server, values = _only(mesh.server), NO_RANGES[mesh.family]

    _assert_captured(mesh, mesh.pod(mesh_config={fields[1]: [server]}))
    for turn, field in enumerate(fields):
        for value in values if mesh.exhaustive else values[turn : turn + 1]:
            assert mesh.try_pod(mesh_config={field: [server, value]}).refused
