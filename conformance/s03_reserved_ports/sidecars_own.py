"""The admin interface, and the listeners of the two directions."""

from __future__ import annotations

from pytest_fsmredir import (
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Pod,
    Profile,
    Programmer,
    Section,
    Sidecars,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
)

section = Section(3, Profile.CORE)


def open_admin_port(pod: Pod) -> None:
    """The harness has port 15000 listen on the pod's own address too, as FSM's sidecar does."""
    pod.listen(15000, host=pod.address, uid=SIDECAR_UID)


@section.check("RES-001", "3.2", families=(4,))
def test_admin_interface_is_closed_to_the_outside(mesh: Mesh) -> None:
    """The admin interface on port 15000 MUST NOT be reachable from outside."""
    pod = mesh.pod()
    open_admin_port(pod)

    assert mesh.client.connect(pod, 8080).captured_inbound
    for place in (mesh.client, mesh.node):
        assert place.connect(pod, 15000).avoided(Acceptor.ADMIN, Acceptor.ORIGIN)


@section.check("RES-002", "3.1", families=(4,))
def test_admin_interface_answers_inside_the_pod(mesh: Mesh) -> None:
    """The admin interface on port 15000 MUST answer a process of the pod that dials 127.0.0.1."""
    pod = mesh.pod()
    open_admin_port(pod)

    for uid in (0, 1000):
        assert pod.connect("127.0.0.1", 15000, uid=uid).reached(Acceptor.ADMIN)
    # FSM's localProxyMode PodIP takes the sidecar's calls to 127.0.0.1 to the pod's own address.
    of_sidecar = pod.connect("127.0.0.1", 15000, uid=SIDECAR_UID)
    assert of_sidecar.reached(Acceptor.ADMIN) or of_sidecar.reached(Acceptor.ORIGIN)
    assert pod.connect(mesh.server, 15000).captured_outbound


@section.check("RES-003", "3.2", profile=Profile.IPV6, families=(6,))
def test_admin_interface_is_closed_to_ipv6(mesh: Mesh) -> None:
    """The admin interface on port 15000 MUST NOT be reachable from outside over IPv6."""
    pod = mesh.pod()
    open_admin_port(pod)

    # No control that another port is captured: to block IPv6 altogether is permitted.
    assert mesh.client.connect(pod, 15000).avoided(Acceptor.ADMIN, Acceptor.ORIGIN)


@section.check("RES-010", "3.3")
def test_outbound_listener_is_closed_to_the_outside(mesh: Mesh) -> None:
    """A connection from outside to port 15001 MUST NOT reach the outbound listener."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 15001).avoided(Acceptor.SIDECAR_OUTBOUND)
    assert mesh.client.connect(pod, 15003).avoided(Acceptor.SIDECAR_OUTBOUND)


@section.check(
    "RES-013", "3.7", profile=Profile.EXCLUSIONS, features={Feature.INBOUND_PORT_EXCLUSION}
)
def test_excluding_the_sidecars_own_ports_opens_nothing(mesh: Mesh, programmer: Programmer) -> None:
    """An inbound port exclusion of 15000, 15001 or 15003 SHOULD be refused or open nothing."""
    own = {15000: Acceptor.ORIGIN, 15001: Acceptor.SIDECAR_OUTBOUND}

    for port, listener in own.items():
        pod = mesh.bare_pod()
        excluded = programmer.try_program(pod, annotations={EXCLUDED_INBOUND_PORTS: f"8080,{port}"})
        if excluded.accepted:
            open_admin_port(pod)
            assert mesh.client.connect(pod, 8080).direct
            assert mesh.client.connect(pod, 8081).captured_inbound
            assert mesh.client.connect(pod, port).avoided(listener)


@section.check("RES-015", "3.8")
def test_application_on_a_reserved_port_gets_no_redirected_traffic(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    """An application that occupies the sidecar's inbound port MAY get the connections meant for
    the sidecar."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.stopped(pod), pod.listening(15003):
        assert mesh.client.connect(pod, 8080, answer=False).avoided(Acceptor.ORIGIN)


@section.check("OUT-003", "3.3")
def test_outbound_connection_passes_the_outbound_listener_alone(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    """An outbound connection MUST pass the sidecar's outbound listener and none of its others,
    whatever port it names."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for port in (80, 15001, 15003, 15010):
            fate = pod.connect(mesh.server, port)
            assert fate.captured_outbound
            assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


@section.check("IN-003", "3.3")
def test_inbound_connection_passes_the_inbound_listener_alone(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    """An inbound connection MUST pass the sidecar's inbound listener and none of its others."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for port in (80, 8080, 15002):
            fate = mesh.client.connect(pod, port)
            assert fate.captured_inbound
            assert fate.passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
