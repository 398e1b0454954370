"""The sidecar, the application and their flows over time."""

from __future__ import annotations

from pytest_fsmredir import (
    ForeignPrograms,
    Mesh,
    Profile,
    Programmer,
    Section,
    Sidecars,
    Taps,
    add_foreign_rules,
)

section = Section(16, Profile.LIFECYCLE)

# Has the kernel track connections, and does nothing else: a rule without a target only counts.
TRACKING = """\
*filter
-A INPUT -m conntrack --ctstate NEW
COMMIT
"""


@section.check("LIFE-001", "16.1")
def test_outbound_fails_closed_without_a_sidecar(
    mesh: Mesh, sidecars: Sidecars, taps: Taps
) -> None:
    """While the sidecar is absent, TCP from the application MUST fail without leaving the pod."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    with sidecars.stopped(pod), taps.of(pod) as tap:
        for _ in ("first try", "second try"):
            assert pod.connect(mesh.server, 8080).unanswered
        assert pod.connect(mesh.server, 8081, uid=1500).direct
        opened = [packet.destination.port for packet in tap.packets() if packet.opens]
    assert opened == [8081], f"connections left the pod to the ports {opened}, not to 8081 alone"


@section.check("LIFE-002", "16.1")
def test_inbound_fails_closed_without_a_sidecar(mesh: Mesh, sidecars: Sidecars) -> None:
    """While the sidecar is absent, TCP into the pod MUST fail although the application listens."""
    pod = mesh.pod()
    pod.listen(8080)

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.stopped(pod):
        assert pod.connect(mesh.loopback(), 8080).direct
        assert mesh.client.connect(pod, 8080).unanswered


@section.check("LIFE-003", "16.2")
def test_sidecar_that_is_back_gets_the_next_connection(mesh: Mesh, sidecars: Sidecars) -> None:
    """Once the sidecar is back, the next connection in either direction MUST be captured without
    another run of the init command."""
    pod = mesh.pod()

    with sidecars.stopped(pod):
        assert pod.connect(mesh.server, 8080).unanswered
        assert mesh.client.connect(pod, 8080).unanswered
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("LIFE-004", "16.3", families=(4,))
def test_flow_from_before_stays_direct(mesh: Mesh, programmer: Programmer) -> None:
    """A flow that was open before the pod was programmed may stay direct to its end; without
    connection tracking until then it may break."""
    pod = mesh.bare_pod()

    with pod.open(mesh.server, 8080) as flow:
        assert flow.fate.direct
        programmer.program(pod)
        assert flow.echoes(b"still there", mesh.timeout_s)
    assert pod.connect(mesh.server, 8080).captured_outbound


@section.check("LIFE-005", "16.4")
def test_tracked_flow_outlives_the_programming(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Programming the pod MUST NOT break a flow that is open and known to connection tracking."""
    pod = mesh.bare_pod()
    add_foreign_rules(programs, pod, mesh.family, TRACKING)

    with pod.open(mesh.server, 8080) as leaving, mesh.client.open(pod, 8080) as entering:
        programmed = programmer.try_program(pod).accepted
        for flow in (leaving, entering):
            assert flow.echoes(b"still there", mesh.timeout_s)
    if programmed:
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("LIFE-008", "16.5")
def test_restarted_application_stays_captured(mesh: Mesh, sidecars: Sidecars) -> None:
    """An application that restarts, under whatever user, SHOULD stay captured in both
    directions."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for uid in (1000, 2000):
            with pod.listening(8080, uid=uid):
                assert mesh.client.connect(pod, 8080).captured_inbound
                assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound


@section.check("LIFE-009", "16.2")
def test_pod_may_be_programmed_before_its_sidecar_starts(
    mesh: Mesh, programmer: Programmer, sidecars: Sidecars
) -> None:
    """A pod that is programmed before its sidecar first starts MUST be captured from that start
    on."""
    pod = mesh.bare_pod()

    with sidecars.stopped(pod):
        programmer.program(pod)
        assert pod.connect(mesh.server, 8080).unanswered
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
