"""Lists of the installed mesh, and lists that change while pods run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_fsmredir import (
    Fate,
    Feature,
    Mesh,
    Need,
    Pod,
    Policy,
    Profile,
    Section,
    Workloads,
    expected,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUSIONS,
    MESH_EXCLUDED_INBOUND_PORTS,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
    PORT_EXCLUSIONS,
    RESERVED_PORTS,
)

section = Section(20, Profile.KUBERNETES, PORT_EXCLUSIONS, families=(4,))


def _assert_everything_is_captured(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 6379).captured_outbound
    assert mesh.client.connect(pod, 7070).captured_inbound


def _ports(listed: Iterable[int]) -> list[int]:
    """Return an ordinary port, and each listed port with its neighbours."""
    near = (port + step for port in listed for step in (0, -1, 1))
    return [p for p in dict.fromkeys((8080, *near)) if 1 <= p <= 65535 and p not in RESERVED_PORTS]


def _fates(mesh: Mesh, pod: Pod, policy: Policy) -> Iterator[Fate]:
    """Send flows both ways, to ports that a list names and to ports that none names."""
    for place in (mesh.server, mesh.client, mesh.node):
        for port in _ports(policy.outbound_port_exclusion_list):
            yield pod.connect(place, port)
    for port in _ports(policy.inbound_port_exclusion_list):
        yield mesh.client.connect(pod, port)


@section.check("KUBE-020", "20.7", features=EXCLUSIONS, needs={Need.WEBHOOK})
def test_patched_exclusions_are_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    """Exclusions that are patched into the MeshConfig MUST be felt by a restarted pod, and not by
    one that runs on."""
    deployment = workloads.workload("Deployment")
    running = deployment.pod  # which its controller makes some time after it
    lists: dict[str, list[object]] = {
        MESH_EXCLUDED_RANGES: [range_of(mesh.server)],
        MESH_EXCLUDED_OUTBOUND_PORTS: [6379],
        MESH_EXCLUDED_INBOUND_PORTS: [7070],
    }

    with workloads.mesh_config(lists):
        _assert_everything_is_captured(mesh, running)
        pod = deployment.restart()
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.client, 6379).direct
    assert mesh.client.connect(pod, 7070).direct


@section.check(
    "KUBE-021", "20.7", features={Feature.OUTBOUND_IP_RANGE_INCLUSION}, needs={Need.WEBHOOK}
)
def test_patched_inclusion_is_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    """An inclusion that is patched into the MeshConfig MUST be felt by a restarted pod, and not by
    one that runs on."""
    deployment = workloads.workload("Deployment")
    running = deployment.pod  # which its controller makes some time after it

    with workloads.mesh_config({MESH_INCLUDED_RANGES: [range_of(mesh.server)]}):
        _assert_everything_is_captured(mesh, running)
        pod = deployment.restart()
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.client, 8080).direct


@section.check("KUBE-022", "20.7")
def test_annotated_template_is_felt_after_a_restart(mesh: Mesh, workloads: Workloads) -> None:
    """Annotations of a pod template MUST be felt by the pods made of it from then on."""
    deployment = workloads.workload("Deployment", annotations={EXCLUDED_OUTBOUND_PORTS: "6379"})
    assert deployment.pod.connect(mesh.server, 7070).captured_outbound
    assert deployment.pod.connect(mesh.server, 6379).direct

    pod = deployment.restart(
        annotations={EXCLUDED_OUTBOUND_PORTS: "7070", EXCLUDED_INBOUND_PORTS: "6379"}
    )
    assert pod.connect(mesh.server, 6379).captured_outbound
    assert pod.connect(mesh.server, 7070).direct
    assert mesh.client.connect(pod, 7070).captured_inbound
    assert mesh.client.connect(pod, 6379).direct


@section.check("KUBE-023", "20.9")
def test_annotating_a_running_pod_changes_nothing(mesh: Mesh, workloads: Workloads) -> None:
    """An annotation on a running pod MUST NOT change what is captured."""
    pod = mesh.pod(fresh=True)
    workloads.annotate(pod, {EXCLUDED_OUTBOUND_PORTS: "6379", EXCLUDED_INBOUND_PORTS: "7070"})

    _assert_everything_is_captured(mesh, pod)


@section.check("KUBE-030", "20.10", features=(), needs={Need.WEBHOOK})
def test_lists_of_the_installed_mesh_are_followed(mesh: Mesh, workloads: Workloads) -> None:
    """TCP of a pod MUST be captured or direct as the configured lists of its mesh say, which leave
    some of it captured."""
    installed = workloads.installed_lists()
    if not installed.is_valid:
        assert mesh.try_pod(mesh_config=installed.traffic).refused
        return
    policy, captured = installed.policy(), 0
    pod = mesh.pod(mesh_config=installed.traffic)

    for fate in _fates(mesh, pod, policy):
        route = expected(policy, fate.flow, pod.addresses)
        assert fate.takes(route)
        captured += bool(fate.captured_outbound or fate.captured_inbound)
    assert captured, f"nothing is captured under the lists of the mesh: {dict(installed.traffic)}"
