"""Workloads, services and names of a cluster, and the fate of a pod's first flow."""

from __future__ import annotations

from pytest_fsmredir import MUST, SHOULD, Address, Feature, Mesh, Need, Profile, Workloads, check

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
PEER = {"example.com/role": "peer"}  # nothing to the mesh: makes another pod like any
IP_EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"


@check(
    "KUBE-001",
    requirement="The pod of a Deployment, a StatefulSet, a DaemonSet and a Job MUST be captured in"
    " both directions, like a pod made by hand.",
    spec="SPEC-20.1",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_pods_of_every_workload_are_in_the_mesh(mesh: Mesh, workloads: Workloads) -> None:
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job")
    for workload in [workloads.workload(kind) for kind in kinds]:
        assert workload.pod.connect(mesh.server, 8080).captured_outbound
        assert mesh.client.connect(workload.pod, 8080).captured_inbound


@check(
    "KUBE-002",
    requirement="A connection that the application opens before anything else MUST NOT leave the"
    " pod uncaptured.",
    spec="SPEC-20.2",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_first_flow_of_a_pod_is_not_direct(mesh: Mesh, workloads: Workloads) -> None:
    assert workloads.first_flow(mesh.server, 8080).never_direct


@check(
    "KUBE-003",
    requirement="TCP of a pod on the host network MUST NOT be captured, in a namespace whose other"
    " pods are.",
    spec="SPEC-20.3",
    level=MUST,
    profile=Profile.KUBERNETES,
    needs={Need.WEBHOOK},
    families=(4,),
)
def test_pod_on_the_host_network_is_left_alone(mesh: Mesh, workloads: Workloads) -> None:
    assert mesh.pod().connect(mesh.server, 8080).captured_outbound

    assert workloads.host_network_pod().connect(mesh.server, 8080).direct


@check(
    "KUBE-004",
    requirement="A pod with an annotation that cannot be honoured MUST NOT run with its traffic"
    " uncaptured.",
    spec="SPEC-20.8",
    level=MUST,
    profile=Profile.KUBERNETES,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.WORKLOADS},
    families=(4,),
)
def test_bad_annotation_opens_no_pod(mesh: Mesh) -> None:
    assert mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070"}).connect(mesh.server, 6379).direct
    bad = [{OUTBOUND_PORTS: "65536"}, {OUTBOUND_PORTS: "80-90"}, {IP_EXCLUSIONS: "10.0.0.0/33"}]
    for values in bad:
        if mesh.try_pod(annotations=values).accepted:
            pod = mesh.pod(annotations=values)
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "KUBE-005",
    requirement="A connection to a Service MUST be captured outbound, whether it has an address of"
    " its own or is headless.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_services_are_captured(mesh: Mesh, workloads: Workloads) -> None:
    pod, peer = mesh.pod(), mesh.pod(annotations=PEER)
    for headless in (False, True):
        name = workloads.service(peer, 8080, headless=headless)
        (address,) = workloads.resolve(pod, name)
        if (address == peer.address) is not headless:
            message = f"{name} has the address {address}, headless={headless}"
            raise RuntimeError(message)

        fate = pod.connect(address, 8080)
        # Some network plugins choose the pod while the application connects, before any NAT.
        assert fate.captured_outbound or fate.captured_outbound_as(Address(peer.address, 8080))


@check(
    "KUBE-006",
    requirement="A connection to a Service of the calling pod itself SHOULD be captured outbound.",
    spec="SPEC-7.5",
    level=SHOULD,
    profile=Profile.KUBERNETES,
    features={Feature.HAIRPIN},
    families=(4,),
)
def test_own_service_is_captured(mesh: Mesh, workloads: Workloads) -> None:
    pod = mesh.pod()
    (address,) = workloads.resolve(pod, workloads.service(pod, 8080))

    assert pod.connect(address, 8080).captured_outbound


@check(
    "KUBE-007",
    requirement="The cluster's DNS MUST answer the application by UDP, with TCP to port 53"
    " captured.",
    spec="SPEC-5.2",
    level=MUST,
    profile=Profile.KUBERNETES,
    families=(4,),
)
def test_names_are_resolved_past_the_sidecar(mesh: Mesh, workloads: Workloads) -> None:
    pod, peer = mesh.pod(), mesh.pod(annotations=PEER)
    name = workloads.service(peer, 8080, headless=True)

    assert pod.connect(mesh.server, 53).captured_outbound
    addresses = workloads.resolve(pod, name)
    assert addresses == (peer.address,), f"{name} resolves to {addresses}, not {peer.address}"
