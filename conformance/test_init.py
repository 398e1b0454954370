"""The init command: what its exit status promises, and what it may need."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Feature,
    ForeignPrograms,
    Mesh,
    Need,
    Profile,
    Programmer,
    check,
)

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"

NET_ADMIN, NET_RAW = 12, 13  # linux/capability.h


@check(
    "INIT-001",
    requirement="Once the init command has exited 0, the very next connection in either direction"
    " MUST be captured.",
    spec="SPEC-17.1",
    level=MUST,
    profile=Profile.LIFECYCLE,
)
def test_capture_holds_at_once(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()

    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct
    programmer.program(pod)
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


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
    needs={Need.BOTH_VARIANTS},
    families=(4,),
)
def test_rules_of_the_other_variant_do_no_harm(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    pod = mesh.bare_pod()
    other = "legacy" if mesh.iptables == "nft" else "nft"
    added = programs.run(
        pod, [f"iptables-{other}", "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "RETURN"]
    )
    if added.status != 0:
        raise RuntimeError(added.stderr)

    if programmer.try_program(pod).accepted:
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "INIT-008",
    requirement="An init command without the capability NET_ADMIN MUST exit non-zero.",
    spec="SPEC-17.4",
    level=MUST,
    profile=Profile.LIFECYCLE,
    families=(4,),
)
def test_missing_capability_is_refused(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()

    assert programmer.try_program(pod, capabilities=frozenset({NET_RAW})).refused
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
    families=(4,),
)
def test_network_capabilities_are_enough(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()

    programming = programmer.try_program(pod, capabilities=frozenset({NET_ADMIN, NET_RAW}))
    assert programming.programmed
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
