"""Lists that change while pods run: the old pods keep theirs, the new ones follow."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import MUST, Feature, Mesh, Need, Place, Pod, Profile, Workloads, check

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"
EXCLUSIONS = {
    Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    Feature.OUTBOUND_PORT_EXCLUSION,
    Feature.INBOUND_PORT_EXCLUSION,
}


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _assert_everything_is_captured(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 6379).captured_outbound
    assert mesh.client.connect(pod, 7070).captured_inbound


@check(
    "KUBE-020",
    requirement="Exclusions that are patched into the MeshConfig MUST be felt by a restarted pod,"
    " and not by one that runs on.",
    spec="SPEC-20.7",
    level=MUST,
    profile=Profile.KUBERNETES,
    features=EXCLUSIONS,
    needs={Need.WEBHOOK},
    families=(4,),
)
def test_patched_exclusions_are_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    deployment = workloads.workload("Deployment")
    running = deployment.pod  # which its controller makes some time after it
    lists: dict[str, list[object]] = {
        "outboundIPRangeExclusionList": [_only(mesh.server)],
        "outboundPortExclusionList": [6379],
        "inboundPortExclusionList": [7070],
    }

    with workloads.mesh_config(lists):
        _assert_everything_is_captured(mesh, running)
        pod = deployment.restart()
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 6379).direct
    assert mesh.client.connect(pod, 7070).direct


@check(
    "KUBE-021",
    requirement="An inclusion that is patched into the MeshConfig MUST be felt by a restarted pod,"
    " and not by one that runs on.",
    spec="SPEC-20.7",
    level=MUST,
    profile=Profile.KUBERNETES,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.WEBHOOK},
    families=(4,),
)
def test_patched_inclusion_is_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    deployment = workloads.workload("Deployment")
    running = deployment.pod  # which its controller makes some time after it

    with workloads.mesh_config({"outboundIPRangeInclusionList": [_only(mesh.server)]}):
        _assert_everything_is_captured(mesh, running)
        pod = deployment.restart()
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct


@check(
    "KUBE-022",
    requirement="Annotations of a pod template MUST be felt by the pods made of it from then on.",
    spec="SPEC-20.7",
    level=MUST,
    profile=Profile.KUBERNETES,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_annotated_template_is_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    deployment = workloads.workload("Deployment", annotations={OUTBOUND_PORTS: "6379"})
    assert deployment.pod.connect(mesh.server, 7070).captured_outbound
    assert deployment.pod.connect(mesh.server, 6379).direct

    pod = deployment.restart(annotations={OUTBOUND_PORTS: "7070", INBOUND_PORTS: "6379"})
    assert pod.connect(mesh.server, 6379).captured_outbound
    assert pod.connect(mesh.server, 7070).direct
    assert mesh.client.connect(pod, 7070).captured_inbound
    assert mesh.client.connect(pod, 6379).direct


@check(
    "KUBE-023",
    requirement="An annotation on a running pod MUST NOT change what is captured.",
    spec="SPEC-20.9",
    level=MUST,
    profile=Profile.KUBERNETES,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_annotating_a_running_pod_changes_nothing(mesh: Mesh, workloads: Workloads) -> None:
    pod = mesh.pod(fresh=True)
    workloads.annotate(pod, {OUTBOUND_PORTS: "6379", INBOUND_PORTS: "7070"})

    _assert_everything_is_captured(mesh, pod)
