"""Workloads, the first flow of a pod, and pods outside the mesh."""

from __future__ import annotations

from pytest_fsmredir import Feature, Mesh, Need, Profile, Section, Workloads
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    SEED_OUTBOUND_PORTS,
)

section = Section(20, Profile.KUBERNETES, families=(4,))


@section.check("KUBE-001", "20.1")
def test_pods_of_every_workload_are_in_the_mesh(mesh: Mesh, workloads: Workloads) -> None:
    """The pod of a Deployment, a StatefulSet, a DaemonSet and a Job MUST be captured in both
    directions, like a pod made by hand."""
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job")
    for workload in [workloads.workload(kind) for kind in kinds]:
        assert workload.pod.connect(mesh.server, 8080).captured_outbound
        assert mesh.client.connect(workload.pod, 8080).captured_inbound


@section.check("KUBE-002", "20.2")
def test_first_flow_of_a_pod_is_not_direct(mesh: Mesh, workloads: Workloads) -> None:
    """A connection that the application opens before anything else MUST NOT leave the pod
    uncaptured."""
    assert workloads.first_flow(mesh.server, 8080).never_direct


@section.check("KUBE-003", "20.3", needs={Need.WEBHOOK})
def test_pod_on_the_host_network_is_left_alone(mesh: Mesh, workloads: Workloads) -> None:
    """TCP of a pod on the host network MUST NOT be captured, in a namespace whose other pods
    are."""
    assert mesh.pod().connect(mesh.server, 8080).captured_outbound

    assert workloads.host_network_pod().connect(mesh.server, 8080).direct


@section.check(
    "KUBE-004",
    "20.8",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_PORT_EXCLUSION},
    needs={Need.WORKLOADS},
)
def test_bad_annotation_opens_no_pod(mesh: Mesh) -> None:
    """A pod with an annotation that cannot be honoured MUST NOT run with its traffic
    uncaptured."""
    assert mesh.pod(annotations=SEED_OUTBOUND_PORTS).connect(mesh.server, 6379).direct
    bad = [
        {EXCLUDED_OUTBOUND_PORTS: "65536"},
        {EXCLUDED_OUTBOUND_PORTS: "80-90"},
        {EXCLUDED_RANGES: "10.0.0.0/33"},
    ]
    for values in bad:
        if mesh.try_pod(annotations=values).accepted:
            pod = mesh.pod(annotations=values)
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound
