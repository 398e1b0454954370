"""The reserved ports together with lists: open ones stay open, closed ones stay closed."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Pod,
    Profile,
    SecondInterface,
    check,
)

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
EXCLUDED_PORTS = {"flomesh.io/outbound-port-exclusion-list": "6379,7070"}
EXCLUDED_INBOUND_PORTS = {"flomesh.io/inbound-port-exclusion-list": "6379,7070"}
EXCLUDED_INTERFACE = {"networkInterfaceExclusionList": ["net1"]}
SERVED = {
    15010: Acceptor.METRICS,
    15901: Acceptor.LIVENESS,
    15902: Acceptor.READINESS,
    15903: Acceptor.STARTUP,
    15904: Acceptor.HEALTH,
}
CLOSED = {
    15000: (Acceptor.ADMIN, Acceptor.ORIGIN),
    15001: (Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN),
    15003: (Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN),
}


def _with_server(mesh: Mesh, listed: str) -> Pod:
    """Return a pod one of whose lists names the server's address alone."""
    return mesh.pod(annotations={listed: str(ip_network(mesh.server.address))})


def _assert_served(mesh: Mesh, pod: Pod) -> None:
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port, acceptor in SERVED.items():
        assert mesh.client.connect(pod, port).reached(acceptor)


def _assert_closed(mesh: Mesh, pod: Pod) -> None:
    """Check that the outside reaches none of the ports that belong to the sidecar alone."""
    pod.listen(15000, host=pod.address, uid=SIDECAR_UID)
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port, acceptors in CLOSED.items():
        assert mesh.client.connect(pod, port).avoided(*acceptors)


@check(
    "RES-016",
    requirement="A list of excluded outbound ports or ranges MUST NOT take away from the reserved"
    " ports that answer for themselves: 15010, 15901, 15902, 15903 and 15904.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_reserved_ports_answer_beside_outbound_exclusions(mesh: Mesh) -> None:
    ports, ranges = mesh.pod(annotations=EXCLUDED_PORTS), _with_server(mesh, EXCLUSION_LIST)

    assert ports.connect(mesh.server, 6379).direct
    _assert_served(mesh, ports)
    assert ranges.connect(mesh.server, 8080).direct
    _assert_served(mesh, ranges)


@check(
    "RES-017",
    requirement="An inclusion list MUST NOT take away from the reserved ports that answer for"
    " themselves.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_reserved_ports_answer_beside_inclusions(mesh: Mesh) -> None:
    pod = _with_server(mesh, INCLUSION_LIST)

    assert pod.connect(mesh.client, 8080).direct
    _assert_served(mesh, pod)


@check(
    "RES-018",
    requirement="An interface exclusion MUST NOT take away, on the other interfaces, from the"
    " reserved ports that answer for themselves.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_reserved_ports_answer_beside_an_interface_exclusion(
    mesh: Mesh, second: SecondInterface
) -> None:
    _assert_served(mesh, second.pod(mesh_config=EXCLUDED_INTERFACE))


@check(
    "RES-019",
    requirement="A list of excluded inbound ports MUST NOT take away from the reserved ports that"
    " answer for themselves.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_reserved_ports_answer_beside_inbound_exclusions(mesh: Mesh) -> None:
    pod = mesh.pod(annotations=EXCLUDED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 6379).direct
    _assert_served(mesh, pod)


@check(
    "RES-020",
    requirement="An exclusion list that does not name 15000, 15001 or 15003 MUST NOT open these"
    " ports to the outside.",
    spec="SPEC-3.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={
        Feature.INBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    },
)
def test_exclusions_open_no_port_of_the_sidecar(mesh: Mesh) -> None:
    inbound = mesh.pod(annotations=EXCLUDED_INBOUND_PORTS)
    ports, ranges = mesh.pod(annotations=EXCLUDED_PORTS), _with_server(mesh, EXCLUSION_LIST)

    assert mesh.client.connect(inbound, 6379).direct
    _assert_closed(mesh, inbound)
    assert ports.connect(mesh.server, 6379).direct
    _assert_closed(mesh, ports)
    assert ranges.connect(mesh.server, 8080).direct
    _assert_closed(mesh, ranges)


@check(
    "RES-021",
    requirement="An inclusion list MUST NOT open the ports 15000, 15001 and 15003 to the outside.",
    spec="SPEC-3.9",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_inclusions_open_no_port_of_the_sidecar(mesh: Mesh) -> None:
    pod = _with_server(mesh, INCLUSION_LIST)

    assert pod.connect(mesh.client, 8080).direct
    _assert_closed(mesh, pod)


@check(
    "RES-022",
    requirement="An interface exclusion MUST NOT open the ports 15000, 15001 and 15003 on the other"
    " interfaces.",
    spec="SPEC-3.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_interface_exclusion_opens_no_port_of_the_sidecar(
    mesh: Mesh, second: SecondInterface
) -> None:
    _assert_closed(mesh, second.pod(mesh_config=EXCLUDED_INTERFACE))


@check(
    "RES-023",
    requirement="A port exclusion list that does not name a reserved port number MUST NOT exempt"
    " that number on a remote host.",
    spec="SPEC-1.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION, Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_port_exclusions_exempt_no_reserved_number_outbound(mesh: Mesh) -> None:
    for lists in (EXCLUDED_INBOUND_PORTS, EXCLUDED_PORTS):
        pod = mesh.pod(annotations=lists)
        for port in (*CLOSED, *SERVED):
            assert pod.connect(mesh.server, port).captured_outbound
