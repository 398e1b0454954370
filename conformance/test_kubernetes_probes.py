"""Probes of the kubelet, rewritten to the ports that are reserved for them."""

from __future__ import annotations

from pytest_fsmredir import MUST, Mesh, Probe, ProbeBy, Profile, Workloads, check


def _assert_told_apart(mesh: Mesh, workloads: Workloads, probe: Probe, by: ProbeBy) -> None:
    """The pods with the probes are captured, and probes distinguish live and dead applications."""
    for alive in (True, False):
        result = workloads.probe(probe, by, alive=alive)
        assert result.pod.connect(mesh.server, 8080).captured_outbound
        assert mesh.client.connect(result.pod, 8080).captured_inbound
        assert result.right


@check(
    "KUBE-010",
    requirement="A readiness probe by HTTP MUST pass for a live application and fail for a dead"
    " one.",
    spec="SPEC-20.4",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_readiness_by_http(mesh: Mesh, workloads: Workloads) -> None:
    _assert_told_apart(mesh, workloads, Probe.READINESS, ProbeBy.HTTP)


@check(
    "KUBE-011",
    requirement="A readiness probe by HTTPS MUST pass for a live application and fail for a dead"
    " one.",
    spec="SPEC-20.4",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_readiness_by_https(mesh: Mesh, workloads: Workloads) -> None:
    _assert_told_apart(mesh, workloads, Probe.READINESS, ProbeBy.HTTPS)


@check(
    "KUBE-012",
    requirement="A readiness probe by TCP MUST pass for a live application and fail for a dead"
    " one.",
    spec="SPEC-20.4",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_readiness_by_tcp(mesh: Mesh, workloads: Workloads) -> None:
    _assert_told_apart(mesh, workloads, Probe.READINESS, ProbeBy.TCP)


@check(
    "KUBE-013",
    requirement="A liveness probe by HTTP MUST pass for a live application and fail for a dead"
    " one.",
    spec="SPEC-20.4",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_liveness_by_http(mesh: Mesh, workloads: Workloads) -> None:
    _assert_told_apart(mesh, workloads, Probe.LIVENESS, ProbeBy.HTTP)


@check(
    "KUBE-014",
    requirement="A startup probe by HTTP MUST pass for a live application and fail for a dead one.",
    spec="SPEC-20.4",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_startup_by_http(mesh: Mesh, workloads: Workloads) -> None:
    _assert_told_apart(mesh, workloads, Probe.STARTUP, ProbeBy.HTTP)
