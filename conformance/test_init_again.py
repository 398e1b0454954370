"""The init command run once more: what a second run keeps, replaces or, refusing, leaves alone."""

from __future__ import annotations

from pytest_fsmredir import MUST, SHOULD, Acceptor, Feature, Mesh, Need, Pod, Profile, check

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"
EXCLUDED_RANGES = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUDED_RANGES = "flomesh.io/outbound-ip-range-inclusion-list"
INTERFACES = "networkInterfaceExclusionList"


def _routes(mesh: Mesh, pod: Pod) -> dict[str, tuple[Acceptor, ...]]:
    """Who accepts each kind of flow, hop by hop."""
    flows = {
        "outbound": pod.connect(mesh.server, 8080),
        "outbound from the sidecar": pod.connect(mesh.server, 8080, uid=1500),
        "inbound": mesh.client.connect(pod, 8080),
        "inbound to a reserved port": mesh.client.connect(pod, 15904),
        "to the pod itself": pod.connect(pod, 8080),
        "to the pod itself from the sidecar": pod.connect(pod, 8080, uid=1500),
        "over loopback": pod.connect(mesh.loopback(), 8080),
    }
    return {what: tuple(hop.by for hop in fate.path) for what, fate in flows.items()}


@check(
    "INIT-002",
    requirement="A second run with the same configuration SHOULD succeed and leave every flow the"
    " way it went after the first.",
    spec="SPEC-17.2",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING},
)
def test_second_run_changes_nothing(mesh: Mesh) -> None:
    pod = mesh.pod(fresh=True)

    once = _routes(mesh, pod)
    for _ in range(2 if mesh.exhaustive else 1):
        pod.program()
        again = _routes(mesh, pod)
        changed = [what for what in once if again[what] != once[what]]
        assert not changed, f"after another run these flows arrive elsewhere: {', '.join(changed)}"
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "INIT-003",
    requirement="A second run that exits 0 MUST put its port lists in place of the first run's.",
    spec="SPEC-17.3",
    level=MUST,
    profile=Profile.LIFECYCLE,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    needs={Need.PROGRAMMING},
)
def test_second_run_replaces_the_port_lists(mesh: Mesh) -> None:
    first = {OUTBOUND_PORTS: "6379,7070", INBOUND_PORTS: "6379"}
    second = {OUTBOUND_PORTS: "7070,9090", INBOUND_PORTS: "7070"}
    pod = mesh.pod(annotations=first, fresh=True)

    assert pod.connect(mesh.server, 6379).direct
    assert mesh.client.connect(pod, 6379).direct
    assert mesh.client.connect(pod, 7070).captured_inbound
    if pod.try_program(annotations=second).accepted:
        assert pod.connect(mesh.server, 6379).captured_outbound
        assert pod.connect(mesh.server, 7070).direct
        assert pod.connect(mesh.server, 9090).direct
        assert mesh.client.connect(pod, 6379).captured_inbound
        assert mesh.client.connect(pod, 7070).direct


@check(
    "INIT-012",
    requirement="A run that refuses its configuration SHOULD leave the pod as it was.",
    spec="SPEC-17.10",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    needs={Need.PROGRAMMING},
)
def test_refused_configuration_leaves_the_pod_as_it_was(mesh: Mesh) -> None:
    pod = mesh.bare_pod()
    unusable = {OUTBOUND_PORTS: "6379,70000"}

    assert pod.try_program(annotations=unusable).refused
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct
    pod.program(annotations={OUTBOUND_PORTS: "7070"})
    assert pod.try_program(annotations=unusable).refused
    assert pod.connect(mesh.server, 6379).captured_outbound
    assert pod.connect(mesh.server, 7070).direct
    assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "INIT-013",
    requirement="A second run that exits 0 MUST put its range lists in place of the first run's.",
    spec="SPEC-17.3",
    level=MUST,
    profile=Profile.LIFECYCLE,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.PROGRAMMING, Need.REMOTE_ADDRESSES},
)
def test_second_run_replaces_the_ip_range_lists(mesh: Mesh) -> None:
    excluded, included, elsewhere = (mesh.subnet(number) for number in (1, 2, 3))
    first = {EXCLUDED_RANGES: str(excluded), INCLUDED_RANGES: f"{excluded},{included}"}
    pod = mesh.pod(annotations=first, fresh=True)

    assert pod.connect(str(included[10]), 8080).captured_outbound
    assert pod.connect(str(elsewhere[10]), 8080).direct
    if pod.try_program(annotations={EXCLUDED_RANGES: str(included)}).accepted:
        assert pod.connect(str(excluded[10]), 8080).captured_outbound
        assert pod.connect(str(included[10]), 8080).direct
        assert pod.connect(str(elsewhere[10]), 8080).captured_outbound
    if pod.try_program(annotations={INCLUDED_RANGES: str(elsewhere)}).accepted:
        assert pod.connect(str(elsewhere[10]), 8080).captured_outbound
        assert pod.connect(str(excluded[10]), 8080).direct


@check(
    "INIT-016",
    requirement="An interface that a second run excludes no longer SHOULD be captured again.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
    needs={Need.PROGRAMMING, Need.SECOND_INTERFACE},
    families=(4,),
)
def test_second_run_replaces_the_interface_list(mesh: Mesh) -> None:
    pod = mesh.bare_pod(second_interface=True)
    beyond, own = mesh.beyond_second_interface(), pod.second_interface_address

    pod.program(mesh_config={INTERFACES: ["net1"]})
    assert pod.connect(beyond, 8080, interface="net1").direct
    assert mesh.client.connect(own, 8080, interface="net1").direct
    if pod.try_program(mesh_config={INTERFACES: ["eth0"]}).accepted:
        assert pod.connect(beyond, 8080, interface="net1").captured_outbound
        assert mesh.client.connect(own, 8080, interface="net1").captured_inbound
        assert pod.connect(mesh.server, 8080).direct
        assert mesh.client.connect(pod, 8080).direct
