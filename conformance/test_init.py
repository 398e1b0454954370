"""The init command: what its exit status promises, once and again, and what it may need."""

from __future__ import annotations

from pytest_fsmredir import MUST, SHOULD, Acceptor, Feature, Mesh, Need, Pod, Profile, check

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"
EXCLUDED_RANGES = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUDED_RANGES = "flomesh.io/outbound-ip-range-inclusion-list"

NET_ADMIN, NET_RAW = 12, 13  # linux/capability.h


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
    "INIT-001",
    requirement="Once the init command has exited 0, the very next connection in either direction"
    " MUST be captured.",
    spec="SPEC-17.1",
    level=MUST,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING},
)
def test_capture_holds_at_once(mesh: Mesh) -> None:
    pod = mesh.bare_pod()

    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct
    pod.program()
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


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
        assert _routes(mesh, pod) == once
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
    pod = mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070", INBOUND_PORTS: "6379"}, fresh=True)

    assert pod.connect(mesh.server, 6379).direct
    assert mesh.client.connect(pod, 6379).direct
    if pod.try_program(annotations={OUTBOUND_PORTS: "7070,9090"}).accepted:
        assert pod.connect(mesh.server, 6379).captured_outbound
        assert pod.connect(mesh.server, 7070).direct
        assert pod.connect(mesh.server, 9090).direct
        assert mesh.client.connect(pod, 6379).captured_inbound


@check(
    "INIT-004",
    requirement="An init command MUST exit non-zero for a configuration that it cannot honour.",
    spec="SPEC-17.4",
    level=MUST,
    profile=Profile.LIFECYCLE,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_unusable_configuration_is_refused(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={OUTBOUND_PORTS: "6379,7070"})

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.try_pod(annotations={OUTBOUND_PORTS: "6379,70000"}).refused


@check(
    "INIT-006",
    requirement="Where the other variant of iptables already holds rules, the redirection SHOULD"
    " work or its programming fail.",
    spec="SPEC-17.6",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING, Need.FOREIGN_RULES, Need.BOTH_VARIANTS},
    families=(4,),
)
def test_rules_of_the_other_variant_do_no_harm(mesh: Mesh) -> None:
    pod = mesh.bare_pod()
    other = "legacy" if mesh.iptables == "nft" else "nft"
    added = pod.run([f"iptables-{other}", "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "RETURN"])
    if added.status != 0:
        raise RuntimeError(added.stderr)

    if pod.try_program().accepted:
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "INIT-008",
    requirement="An init command without the capability NET_ADMIN MUST exit non-zero.",
    spec="SPEC-17.4",
    level=MUST,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING},
    families=(4,),
)
def test_missing_capability_is_refused(mesh: Mesh) -> None:
    pod = mesh.bare_pod()

    assert pod.try_program(capabilities=frozenset({NET_RAW})).refused
    assert mesh.pod().connect(mesh.server, 8080).captured_outbound


@check(
    "INIT-009",
    requirement="Programming a pod MUST NOT change what happens to flows outside it.",
    spec="SPEC-17.8",
    level=MUST,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING},
    families=(4,),
)
def test_only_the_pod_itself_changes(mesh: Mesh) -> None:
    bystander, pod = mesh.bare_pod(), mesh.pod(fresh=True)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert bystander.connect(mesh.server, 8080).direct
    assert mesh.client.connect(bystander, 8080).direct
    assert mesh.client.connect(mesh.server, 8080).direct


@check(
    "INIT-010",
    requirement="The init command SHOULD need no capability but NET_ADMIN and NET_RAW.",
    spec="SPEC-17.9",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    needs={Need.PROGRAMMING},
    families=(4,),
)
def test_network_capabilities_are_enough(mesh: Mesh) -> None:
    pod = mesh.bare_pod()

    programming = pod.try_program(capabilities=frozenset({NET_ADMIN, NET_RAW}))
    assert programming.accepted, programming
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "INIT-012",
    requirement="A run that refuses its configuration SHOULD leave the pod as it was.",
    spec="SPEC-17.10",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    needs={Need.PROGRAMMING},
    families=(4,),
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
    families=(4,),
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
