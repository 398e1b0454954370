"""The reserved ports that answer for themselves from outside, and their neighbours."""

from __future__ import annotations

from pytest_fsmredir import MUST, Acceptor, Mesh, Profile, check

NEIGHBOURS = (14999, 15002, 15004, 15009, 15011, 15900, 15905)
HEALTH_RESPONDER = 1001  # a separate container: neither the sidecar nor the application


@check(
    "RES-004",
    requirement="A connection from outside to port 15010 MUST reach the metrics listener itself.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_metrics_port_is_served_by_its_own_listener(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 15010).reached(Acceptor.METRICS)
    assert mesh.client.connect(pod, 15011).captured_inbound


@check(
    "RES-005",
    requirement="A connection from outside to port 15901 MUST reach the liveness listener itself.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_liveness_port_is_served_by_its_own_listener(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.node.connect(pod, 15901).reached(Acceptor.LIVENESS)
    assert mesh.node.connect(pod, 15900).captured_inbound


@check(
    "RES-006",
    requirement="A connection from outside to port 15902 MUST reach the readiness listener itself.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_readiness_port_is_served_by_its_own_listener(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.node.connect(pod, 15902).reached(Acceptor.READINESS)
    assert mesh.node.connect(pod, 15900).captured_inbound


@check(
    "RES-007",
    requirement="A connection from outside to port 15903 MUST reach the startup listener itself.",
    spec="SPEC-3.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_startup_port_is_served_by_its_own_listener(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.node.connect(pod, 15903).reached(Acceptor.STARTUP)
    assert mesh.node.connect(pod, 15900).captured_inbound


@check(
    "RES-008",
    requirement="A connection from outside to port 15904 MUST reach fsm-healthcheck with no sidecar"
    " listener taking part.",
    spec="SPEC-3.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_health_port_bypasses_the_sidecar(mesh: Mesh) -> None:
    pod = mesh.pod()

    for place in (mesh.client, mesh.node):
        fate = place.connect(pod, 15904)
        assert fate.reached(Acceptor.HEALTH)
        assert fate.passed(Acceptor.HEALTH)
        assert place.connect(pod, 15905).captured_inbound


@check(
    "RES-009",
    requirement="The neighbours of reserved ports MUST be captured.",
    spec="SPEC-2.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_neighbours_of_reserved_ports_are_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in NEIGHBOURS:
        assert mesh.client.connect(pod, port).captured_inbound


@check(
    "RES-014",
    requirement="The connection by which fsm-healthcheck asks for a dead application port MUST fail"
    " and not be answered by the sidecar.",
    spec="SPEC-3.6",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_health_probe_of_a_dead_application_fails(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.node.connect(pod, 8094, answer=False).captured_inbound
    assert mesh.node.connect(pod, 15904).reached(Acceptor.HEALTH)
    probe = pod.connect("127.0.0.1", 8094, uid=HEALTH_RESPONDER, answer=False)
    assert probe.unanswered
    assert pod.connect("127.0.0.1", 8094, uid=HEALTH_RESPONDER).direct
