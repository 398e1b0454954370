"""Outbound port exclusions."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Address,
    Feature,
    Mesh,
    Profile,
    Programmer,
    SecondInterface,
    check,
)

EXCLUSION_LIST = "flomesh.io/outbound-port-exclusion-list"
SEED_EXAMPLE = {EXCLUSION_LIST: "6379,7070"}
RESERVED_PORTS = (15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904)


@check(
    "OPX-001",
    requirement="TCP to an excluded outbound port MUST be direct for every user and source"
    " port, while other ports of the same host stay captured.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_excluded_outbound_port_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)
    low = Address(pod.address, 722)  # from the range of root's own, where NFS dials from

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.server, 6379, uid=uid).direct
    assert pod.connect(mesh.server, 8080, source=low).captured_outbound
    assert pod.connect(mesh.server, 6379, source=low).direct


@check(
    "OPX-002",
    requirement="Each comma-separated port of the outbound port exclusion list MUST count, the"
    " seed's 6379,7070 exempting both.",
    spec="SPEC-13.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_every_outbound_port_of_a_list_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert pod.connect(mesh.server, 7070).direct


@check(
    "OPX-003",
    requirement="An outbound port that is not listed MUST stay captured, also if it lies"
    " between or next to listed ones or shares digits with them.",
    spec="SPEC-10.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_outbound_ports_not_listed_stay_captured(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)
    near = {6, 70, 637, 707, 6378, 6380, 7000, 7069, 7071, 63790}
    wide = set(range(6000, 8000)) if mesh.exhaustive else set()

    assert pod.connect(mesh.server, 7070).direct
    for fate in pod.connect_all(mesh.server, sorted((near | wide) - {6379, 7070})):
        assert fate.captured_outbound


@check(
    "OPX-004",
    requirement="An outbound port exclusion MUST NOT exempt the inbound port of the same number.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_outbound_exclusion_leaves_the_inbound_port_captured(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert pod.connect(mesh.server, 6379).direct
    for port in (6379, 7070):
        assert mesh.client.connect(pod, port).captured_inbound


@check(
    "OPX-006",
    requirement="A connection from a source port that equals an excluded outbound port MUST stay"
    " captured.",
    spec="SPEC-12.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_source_port_is_not_compared_with_outbound_exclusions(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert pod.connect(mesh.server, 6379).direct
    for port in (6379, 7070):
        assert pod.connect(mesh.server, 8080, source=Address(pod.address, port)).captured_outbound


@check(
    "OPX-007",
    requirement="Fifteen outbound ports excluded for the mesh and fifteen for the pod MUST all be"
    " direct in that pod.",
    spec="SPEC-13.5",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_outbound_port_lists_of_both_scopes_add_up(mesh: Mesh) -> None:
    of_mesh, of_pod = range(21000, 21015), range(22000, 22030, 2)
    pod = mesh.pod(
        mesh_config={"outboundPortExclusionList": list(of_mesh)},
        annotations={EXCLUSION_LIST: ",".join(map(str, of_pod))},
    )

    for port in (20999, 21015, 21500, 22001, 22027):
        assert pod.connect(mesh.server, port).captured_outbound
    for port in (*of_mesh, *of_pod):
        assert pod.connect(mesh.server, port).direct


@check(
    "OPX-008",
    requirement="An excluded outbound port MUST be direct at any remote address, UDP being no"
    " concern of the list.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_excluded_outbound_port_is_direct_at_every_host(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert pod.connect(host, 6379).direct
        assert pod.datagram(host, 6379).direct
        assert pod.datagram(host, 8080).direct


@check(
    "OPX-009",
    requirement="The application's connection to its pod's own address SHOULD be direct on an"
    " excluded outbound port as on any other.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_own_address_is_direct_on_an_excluded_outbound_port(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(pod, 6379).direct
    assert pod.connect(pod, 8080).direct


@check(
    "OPX-010",
    requirement="An outbound port exclusion MUST hold whichever of the pod's addresses a connection"
    " comes from, and whichever interface it leaves by.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_outbound_port_exclusion_holds_on_every_way_out(
    mesh: Mesh, second: SecondInterface
) -> None:
    pod = second.pod(annotations=SEED_EXAMPLE)
    beyond = second.remote_address()

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).captured_outbound
        assert pod.connect(mesh.server, 6379, source=Address(own, 0)).direct
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.connect(beyond, 6379, interface="net1").direct


@check(
    "OPX-011",
    requirement="Outbound exclusions of numbers that FSM reserves MUST make those ports direct, or"
    " be refused.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_reserved_numbers_can_be_excluded_outbound(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()
    listed = ",".join(map(str, RESERVED_PORTS))

    if programmer.try_program(pod, annotations={EXCLUSION_LIST: listed}).accepted:
        assert pod.connect(mesh.server, 15002).captured_outbound
        for port in RESERVED_PORTS:
            assert pod.connect(mesh.server, port).direct
