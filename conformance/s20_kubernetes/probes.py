"""Probes of the kubelet, rewritten to the ports that are reserved for them."""

from __future__ import annotations

from pytest_fsmredir import Case, Mesh, Probe, ProbeBy, Profile, Section, Workloads

section = Section(20, Profile.KUBERNETES, families=(4,))


@section.check_each(
    Case(
        "KUBE-010", "20.4", "readiness by http", kind="readiness", protocol="HTTP",
        probe=Probe.READINESS, by=ProbeBy.HTTP,
    ),
    Case(
        "KUBE-011", "20.4", "readiness by https", kind="readiness", protocol="HTTPS",
        probe=Probe.READINESS, by=ProbeBy.HTTPS,
    ),
    Case(
        "KUBE-012", "20.4", "readiness by tcp", kind="readiness", protocol="TCP",
        probe=Probe.READINESS, by=ProbeBy.TCP,
    ),
    Case(
        "KUBE-013", "20.4", "liveness by http", kind="liveness", protocol="HTTP",
        probe=Probe.LIVENESS, by=ProbeBy.HTTP,
    ),
    Case(
        "KUBE-014", "20.4", "startup by http", kind="startup", protocol="HTTP",
        probe=Probe.STARTUP, by=ProbeBy.HTTP,
    ),
)  # fmt: skip
def test_live_and_dead_applications_differ(
    mesh: Mesh, workloads: Workloads, *, probe: Probe, by: ProbeBy
) -> None:
    """A {kind} probe by {protocol} MUST pass for a live application and fail for a dead one."""
    for alive in (True, False):
        result = workloads.probe(probe, by, alive=alive)
        assert result.pod.connect(mesh.server, 8080).captured_outbound
        assert mesh.client.connect(result.pod, 8080).captured_inbound
        assert result.right
