"""Reserved ports of a pod with lists."""

from __future__ import annotations

from pytest_fsmredir import (
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Pod,
    Profile,
    SecondInterface,
    Section,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_RANGES,
    EXCLUSIONS,
    INCLUDED_RANGES,
    MESH_EXCLUDED_INTERFACES,
    SEED_INBOUND_PORTS,
    SEED_OUTBOUND_PORTS,
    SERVED_LISTENERS,
)

section = Section(3, Profile.INCLUSIONS, {Feature.OUTBOUND_IP_RANGE_INCLUSION})

EXCLUDED_INTERFACE = {MESH_EXCLUDED_INTERFACES: ["net1"]}
CLOSED = {
    15000: (Acceptor.ADMIN, Acceptor.ORIGIN),
    15001: (Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN),
    15003: (Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN),
}


def _assert_served(mesh: Mesh, pod: Pod) -> None:
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port, acceptor in SERVED_LISTENERS.items():
        assert mesh.client.connect(pod, port).reached(acceptor)


def _assert_closed(mesh: Mesh, pod: Pod) -> None:
    """Check that the outside reaches none of the ports that belong to the sidecar alone."""
    pod.listen(15000, host=pod.address, uid=SIDECAR_UID)
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port, acceptors in CLOSED.items():
        assert mesh.client.connect(pod, port).avoided(*acceptors)


@section.check(
    "RES-016",
    "3.4",
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_reserved_ports_answer_beside_outbound_exclusions(mesh: Mesh) -> None:
    """A list of excluded outbound ports or ranges MUST NOT take away from the reserved ports that
    answer for themselves: 15010, 15901, 15902, 15903 and 15904."""
    ports, ranges = (
        mesh.pod(annotations=SEED_OUTBOUND_PORTS),
        mesh.pod(annotations={EXCLUDED_RANGES: range_of(mesh.server)}),
    )

    assert ports.connect(mesh.server, 6379).direct
    _assert_served(mesh, ports)
    assert ranges.connect(mesh.server, 8080).direct
    _assert_served(mesh, ranges)


@section.check("RES-017", "3.4")
def test_reserved_ports_answer_beside_inclusions(mesh: Mesh) -> None:
    """An inclusion list MUST NOT take away from the reserved ports that answer for themselves."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    _assert_served(mesh, pod)


@section.check(
    "RES-018", "3.4", profile=Profile.EXCLUSIONS, features={Feature.NETWORK_INTERFACE_EXCLUSION}
)
def test_reserved_ports_answer_beside_an_interface_exclusion(
    mesh: Mesh, second: SecondInterface
) -> None:
    """An interface exclusion MUST NOT take away, on the other interfaces, from the reserved ports
    that answer for themselves."""
    _assert_served(mesh, second.pod(mesh_config=EXCLUDED_INTERFACE))


@section.check(
    "RES-019", "3.4", profile=Profile.EXCLUSIONS, features={Feature.INBOUND_PORT_EXCLUSION}
)
def test_reserved_ports_answer_beside_inbound_exclusions(mesh: Mesh) -> None:
    """A list of excluded inbound ports MUST NOT take away from the reserved ports that answer for
    themselves."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 6379).direct
    _assert_served(mesh, pod)


@section.check("RES-020", "3.9", profile=Profile.EXCLUSIONS, features=EXCLUSIONS)
def test_exclusions_open_no_port_of_the_sidecar(mesh: Mesh) -> None:
    """An exclusion list that does not name 15000, 15001 or 15003 MUST NOT open these ports to the
    outside."""
    inbound = mesh.pod(annotations=SEED_INBOUND_PORTS)
    ports, ranges = (
        mesh.pod(annotations=SEED_OUTBOUND_PORTS),
        mesh.pod(annotations={EXCLUDED_RANGES: range_of(mesh.server)}),
    )

    assert mesh.client.connect(inbound, 6379).direct
    _assert_closed(mesh, inbound)
    assert ports.connect(mesh.server, 6379).direct
    _assert_closed(mesh, ports)
    assert ranges.connect(mesh.server, 8080).direct
    _assert_closed(mesh, ranges)


@section.check("RES-021", "3.9")
def test_inclusions_open_no_port_of_the_sidecar(mesh: Mesh) -> None:
    """An inclusion list MUST NOT open the ports 15000, 15001 and 15003 to the outside."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    _assert_closed(mesh, pod)


@section.check(
    "RES-022", "3.9", profile=Profile.EXCLUSIONS, features={Feature.NETWORK_INTERFACE_EXCLUSION}
)
def test_interface_exclusion_opens_no_port_of_the_sidecar(
    mesh: Mesh, second: SecondInterface
) -> None:
    """An interface exclusion MUST NOT open the ports 15000, 15001 and 15003 on the other
    interfaces."""
    _assert_closed(mesh, second.pod(mesh_config=EXCLUDED_INTERFACE))
