"""The reserved ports that belong to the sidecar alone."""

from __future__ import annotations

from pytest_fsmredir import (
    INFO,
    MUST,
    SHOULD,
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Pod,
    Profile,
    Programmer,
    Sidecars,
    check,
)

INBOUND_PORT_EXCLUSION_LIST = "flomesh.io/inbound-port-exclusion-list"


def open_admin_port(pod: Pod) -> None:
    """The harness has port 15000 listen on the pod's own address too, as FSM's sidecar does."""
    pod.listen(15000, host=pod.address, uid=SIDECAR_UID)


@check(
    "RES-001",
    requirement="The admin interface on port 15000 MUST NOT be reachable from outside.",
    spec="SPEC-3.2",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_admin_interface_is_closed_to_the_outside(mesh: Mesh) -> None:
    pod = mesh.pod()
    open_admin_port(pod)

    for place in (mesh.client, mesh.node):
        assert place.connect(pod, 15000).avoided(Acceptor.ADMIN, Acceptor.ORIGIN)


@check(
    "RES-002",
    requirement="The admin interface on port 15000 MUST answer a process of the pod that dials"
    " 127.0.0.1.",
    spec="SPEC-3.1",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_admin_interface_answers_inside_the_pod(mesh: Mesh) -> None:
    pod = mesh.pod()
    open_admin_port(pod)

    for uid in (0, 1000):
        assert pod.connect("127.0.0.1", 15000, uid=uid).reached(Acceptor.ADMIN)
    # FSM's localProxyMode PodIP takes the sidecar's calls to 127.0.0.1 to the pod's own address.
    of_sidecar = pod.connect("127.0.0.1", 15000, uid=SIDECAR_UID)
    assert of_sidecar.reached(Acceptor.ADMIN) or of_sidecar.reached(Acceptor.ORIGIN)
    assert pod.connect(mesh.server, 15000).captured_outbound


@check(
    "RES-003",
    requirement="The admin interface on port 15000 MUST NOT be reachable from outside over IPv6.",
    spec="SPEC-3.2",
    level=MUST,
    profile=Profile.IPV6,
    families=(6,),
)
def test_admin_interface_is_closed_to_ipv6(mesh: Mesh) -> None:
    pod = mesh.pod()
    open_admin_port(pod)

    # No control that another port is captured: to block IPv6 altogether is permitted.
    assert mesh.client.connect(pod, 15000).avoided(Acceptor.ADMIN, Acceptor.ORIGIN)


@check(
    "RES-010",
    requirement="A connection from outside to port 15001 MUST NOT reach the outbound listener.",
    spec="SPEC-3.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_outbound_listener_is_closed_to_the_outside(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 15001).avoided(Acceptor.SIDECAR_OUTBOUND)
    assert mesh.client.connect(pod, 15003).avoided(Acceptor.SIDECAR_OUTBOUND)


@check(
    "RES-011",
    requirement="A connection from outside to port 15001 or 15003 MUST NOT loop: it causes at most"
    " two connections.",
    spec="SPEC-4.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_dialling_the_listeners_from_outside_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        assert mesh.client.connect(pod, 8080).captured_inbound
        for port in (15001, 15003):
            assert mesh.client.connect(pod, port).ends_within(2)


@check(
    "RES-012",
    requirement="An application that dials its pod's own port 15001 SHOULD NOT cause a loop.",
    spec="SPEC-4.5",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_dialling_the_outbound_listener_inside_does_not_loop(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        assert pod.connect(mesh.server, 15001).captured_outbound
        for host in (mesh.loopback(), pod.address):
            assert pod.connect(host, 15001).ends_within(2)


@check(
    "RES-013",
    requirement="An inbound port exclusion of 15000, 15001 or 15003 SHOULD be refused or open"
    " nothing.",
    spec="SPEC-3.7",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_excluding_the_sidecars_own_ports_opens_nothing(mesh: Mesh, programmer: Programmer) -> None:
    own = {15000: Acceptor.ORIGIN, 15001: Acceptor.SIDECAR_OUTBOUND}

    for port, listener in own.items():
        pod = mesh.bare_pod()
        excluded = programmer.try_program(
            pod, annotations={INBOUND_PORT_EXCLUSION_LIST: f"8080,{port}"}
        )
        if excluded.accepted:
            open_admin_port(pod)
            assert mesh.client.connect(pod, 8080).direct
            assert mesh.client.connect(pod, 8081).captured_inbound
            assert mesh.client.connect(pod, port).avoided(listener)


@check(
    "RES-015",
    requirement="An application that occupies the sidecar's inbound port MAY get the connections"
    " meant for the sidecar.",
    spec="SPEC-3.8",
    level=INFO,
    profile=Profile.CORE,
)
def test_application_on_a_reserved_port_gets_no_redirected_traffic(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.stopped(pod), pod.listening(15003):
        assert mesh.client.connect(pod, 8080, answer=False).avoided(Acceptor.ORIGIN)
