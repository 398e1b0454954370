"""Inbound port exclusions."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    Acceptor,
    Address,
    Feature,
    Mesh,
    Profile,
    SecondInterface,
    Sidecars,
    check,
)

EXCLUSION_LIST = "flomesh.io/inbound-port-exclusion-list"
SEED_EXAMPLE = {EXCLUSION_LIST: "6379,7070"}
SERVED = {
    15010: Acceptor.METRICS,
    15901: Acceptor.LIVENESS,
    15902: Acceptor.READINESS,
    15903: Acceptor.STARTUP,
    15904: Acceptor.HEALTH,
}


@check(
    "IPX-001",
    requirement="TCP from outside to an excluded inbound port MUST be direct, other ports of the"
    " pod staying captured.",
    spec="SPEC-11.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_excluded_inbound_port_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct
    assert mesh.client.connect(pod, 7070).direct


@check(
    "IPX-002",
    requirement="On an excluded inbound port the application MUST see the client's own address and"
    " port.",
    spec="SPEC-11.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_application_sees_the_client_on_an_excluded_inbound_port(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    for host, port in ((mesh.client, 722), (mesh.server, 40123)):
        fate = host.connect(pod, 6379, source=Address(host.address, port))
        assert fate.direct
        assert fate.came_from(Address(host.address, port))


@check(
    "IPX-003",
    requirement="An inbound port exclusion MUST NOT exempt the outbound port of the same number.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_inbound_exclusion_leaves_the_outbound_port_captured(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 6379).direct
    for port in (6379, 7070):
        assert pod.connect(mesh.server, port).captured_outbound


@check(
    "IPX-004",
    requirement="An excluded inbound port where no application listens MUST be refused by the pod"
    " and not be answered by the sidecar.",
    spec="SPEC-11.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_excluded_inbound_port_without_listener_is_refused(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080, answer=False).captured_inbound
    assert mesh.client.connect(pod, 6379, answer=False).refused
    assert mesh.client.connect(pod, 7070, answer=False).refused


@check(
    "IPX-006",
    requirement="A client whose source port equals an excluded inbound port MUST stay captured.",
    spec="SPEC-12.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_source_port_is_not_compared_with_inbound_exclusions(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 6379).direct
    for port in (6379, 7070):
        source = Address(mesh.client.address, port)
        assert mesh.client.connect(pod, 8080, source=source).captured_inbound


@check(
    "IPX-007",
    requirement="An excluded inbound port MUST reach the application while the sidecar is down.",
    spec="SPEC-11.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_excluded_inbound_port_works_without_sidecar(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.stopped(pod):
        assert mesh.client.connect(pod, 6379).direct
        assert mesh.client.connect(pod, 7070).direct


@check(
    "IPX-008",
    requirement="UDP from outside MUST pass untouched on an excluded inbound port as on any other.",
    spec="SPEC-5.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_inbound_exclusions_are_no_concern_of_udp(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.datagram(pod, 6379).direct
    assert mesh.client.datagram(pod, 8080).direct


@check(
    "IPX-009",
    requirement="An excluded inbound port MUST be direct at every address of the pod, on whichever"
    " interface.",
    spec="SPEC-11.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_excluded_inbound_port_is_direct_at_every_address(
    mesh: Mesh, second: SecondInterface
) -> None:
    pod = second.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        interface = "net1" if address == second.interface_address(pod) else "eth0"
        with pod.listening(6379, host=address):
            assert mesh.client.connect(address, 6379, interface=interface).direct


@check(
    "IPX-010",
    requirement="An inbound port that is not listed MUST stay captured, also if it lies"
    " between or next to listed ones or shares digits with them.",
    spec="SPEC-2.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_inbound_ports_not_listed_stay_captured(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)
    near = {6, 70, 637, 707, 6378, 6380, 7000, 7069, 7071, 63790}
    wide = set(range(6000, 8000)) if mesh.exhaustive else set()

    assert mesh.client.connect(pod, 7070).direct
    for fate in mesh.client.connect_all(pod, sorted((near | wide) - {6379, 7070})):
        assert fate.captured_inbound


@check(
    "IPX-011",
    requirement="An inbound port exclusion list MUST NOT take away from the reserved ports that"
    " answer for themselves: 15010, 15901, 15902, 15903 and 15904.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_reserved_ports_answer_beside_inbound_exclusions(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct
    for port, acceptor in SERVED.items():
        assert mesh.client.connect(pod, port).reached(acceptor)
