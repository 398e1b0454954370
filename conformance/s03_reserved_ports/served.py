"""Reserved ports that answer clients outside the pod."""

from __future__ import annotations

from pytest_fsmredir import Acceptor, Case, Mesh, Profile, Section

section = Section(3, Profile.CORE)

HEALTH_RESPONDER = 1001  # a separate container: neither the sidecar nor the application


@section.check("RES-004", "3.4")
def test_metrics_port_is_served_by_its_own_listener(mesh: Mesh) -> None:
    """A connection from outside to port 15010 MUST reach the metrics listener itself."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 15010).reached(Acceptor.METRICS)
    assert mesh.client.connect(pod, 15011).captured_inbound


@section.check_each(
    Case(
        "RES-005", "3.4", "liveness port is served by its own listener", probe="liveness",
        port=15901, listener=Acceptor.LIVENESS,
    ),
    Case(
        "RES-006", "3.4", "readiness port is served by its own listener", probe="readiness",
        port=15902, listener=Acceptor.READINESS,
    ),
    Case(
        "RES-007", "3.4", "startup port is served by its own listener", probe="startup",
        port=15903, listener=Acceptor.STARTUP,
    ),
)  # fmt: skip
def test_probe_port_is_served_by_its_own_listener(
    mesh: Mesh, *, port: int, listener: Acceptor
) -> None:
    """A connection from outside to port {port} MUST reach the {probe} listener itself."""
    pod = mesh.pod()

    assert mesh.node.connect(pod, port).reached(listener)
    assert mesh.node.connect(pod, 15900).captured_inbound


@section.check("RES-008", "3.5")
def test_health_port_bypasses_the_sidecar(mesh: Mesh) -> None:
    """A connection from outside to port 15904 MUST reach fsm-healthcheck with no sidecar listener
    taking part."""
    pod = mesh.pod()

    for place in (mesh.client, mesh.node):
        fate = place.connect(pod, 15904)
        assert fate.reached(Acceptor.HEALTH)
        assert fate.passed(Acceptor.HEALTH)
        assert place.connect(pod, 15905).captured_inbound


@section.check("RES-014", "3.6", families=(4,))
def test_health_probe_of_a_dead_application_fails(mesh: Mesh) -> None:
    """The connection by which fsm-healthcheck asks for a dead application port MUST fail and not
    be answered by the sidecar."""
    pod = mesh.pod()

    assert mesh.node.connect(pod, 8094, answer=False).captured_inbound
    assert mesh.node.connect(pod, 15904).reached(Acceptor.HEALTH)
    probe = pod.connect("127.0.0.1", 8094, uid=HEALTH_RESPONDER, answer=False)
    assert probe.unanswered
    assert pod.connect("127.0.0.1", 8094, uid=HEALTH_RESPONDER).direct
