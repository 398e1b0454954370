"""Every flow at once: the rules in a pod say which to send, and packets decide."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Configuration,
    Feature,
    Level,
    Mesh,
    Need,
    Profile,
    check,
    search,
)

NEEDS = {Need.FOREIGN_RULES, Need.CLIENT_ADDRESSES, Need.KERNEL_SETTINGS}
PORTS = {
    "flomesh.io/outbound-port-exclusion-list": "6379,7070,65535,1",
    "flomesh.io/inbound-port-exclusion-list": "6379,8443,65535,1",
}
EXCLUSIONS = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSIONS = "flomesh.io/outbound-ip-range-inclusion-list"
EXCLUDED = {
    4: {EXCLUSIONS: "1.1.1.1/32,2.2.2.2/24,10.96.0.0/12"},
    6: {EXCLUSIONS: "2001:db8:100::/56,2001:db8:7::1/128"},
}
INCLUDED = {
    4: {INCLUSIONS: "10.244.0.0/16,10.96.0.0/13,192.0.0.0/3"},
    6: {INCLUSIONS: "2001:db8:100::/48,2001:db8:5::/48"},
}
MANY = 66
MANY_PORTS = {
    "flomesh.io/outbound-port-exclusion-list": ",".join(
        str(n) for n in range(20000, 20000 + 7 * MANY, 7)
    ),
    "flomesh.io/inbound-port-exclusion-list": ",".join(
        str(n) for n in range(30000, 30000 + 9 * MANY, 9)
    ),
}
MANY_RANGES = {
    4: {EXCLUSIONS: ",".join(f"100.0.{2 * n}.0/24" for n in range(MANY))},
    6: {EXCLUSIONS: ",".join(f"2001:db8:{n + 4096:x}::/48" for n in range(MANY))},
}


def agrees(
    mesh: Mesh,
    level: Level,
    annotations: dict[str, str],
    interfaces: tuple[str, ...] | None = None,
) -> None:
    """Compare one pod with what its lists mean, and see that its rules are in force.

    With a list of excluded interfaces, which may be empty, the pod has a second interface.
    """
    config = {"networkInterfaceExclusionList": interfaces} if interfaces else {}
    second = interfaces is not None
    pod = mesh.pod(annotations=annotations, mesh_config=config, second_interface=second)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert search(mesh, pod, level, Configuration(annotations, config)).agrees


@check(
    "ALL-001",
    requirement="Every TCP connection, whatever its addresses, ports, user, group and header, MUST"
    " go where it has to in a pod without lists, and UDP and ICMP MUST pass untouched.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs=NEEDS,
)
def test_every_flow_is_treated_as_required(mesh: Mesh) -> None:
    agrees(mesh, MUST, {})


@check(
    "ALL-002",
    requirement="Every connection inside the pod, and every rarer packet, SHOULD go where it has to"
    " in a pod without lists.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.CORE,
    needs=NEEDS,
)
def test_every_flow_is_treated_as_recommended(mesh: Mesh) -> None:
    agrees(mesh, SHOULD, {})


@check(
    "ALL-003",
    requirement="With port exclusions, exactly the connections to the listed ports MUST be direct,"
    " of all that there can be.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    needs=NEEDS,
)
def test_every_flow_follows_the_port_lists(mesh: Mesh) -> None:
    agrees(mesh, MUST, PORTS)


@check(
    "ALL-004",
    requirement="With IP range exclusions, exactly the connections to listed addresses MUST be"
    " direct, of all that there can be.",
    spec="SPEC-8.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs=NEEDS,
)
def test_every_flow_follows_the_excluded_ranges(mesh: Mesh) -> None:
    agrees(mesh, MUST, EXCLUDED[mesh.family])


@check(
    "ALL-005",
    requirement="With IP range inclusions, exactly the connections to listed addresses MUST be"
    " captured, of all that there can be.",
    spec="SPEC-9.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs=NEEDS,
)
def test_every_flow_follows_the_included_ranges(mesh: Mesh) -> None:
    agrees(mesh, MUST, INCLUDED[mesh.family])


@check(
    "ALL-006",
    requirement="With all four lists at once, every connection SHOULD follow them, and exclusions"
    " first.",
    spec="SPEC-12.3",
    level=SHOULD,
    profile=Profile.INCLUSIONS,
    features={
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_INCLUSION,
    },
    needs=NEEDS,
)
def test_every_flow_follows_all_lists(mesh: Mesh) -> None:
    agrees(mesh, SHOULD, {**PORTS, **EXCLUDED[mesh.family], **INCLUDED[mesh.family]})


@check(
    "ALL-007",
    requirement="With 66 items in each exclusion list, every connection that there can be MUST"
    " follow them.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
    },
    needs=NEEDS,
)
def test_every_flow_follows_long_lists(mesh: Mesh) -> None:
    agrees(mesh, MUST, {**MANY_PORTS, **MANY_RANGES[mesh.family]})


@check(
    "ALL-008",
    requirement="In a pod with two interfaces and several addresses, every TCP connection MUST go"
    " where it has to.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={*NEEDS, Need.SECOND_INTERFACE},
)
def test_every_flow_of_two_interfaces_is_treated_as_required(mesh: Mesh) -> None:
    agrees(mesh, MUST, {}, ())


@check(
    "ALL-009",
    requirement="With one of two interfaces excluded, exactly the connections that use it SHOULD be"
    " direct, of all that there can be.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
        Feature.NETWORK_INTERFACE_EXCLUSION,
    },
    needs={*NEEDS, Need.SECOND_INTERFACE},
)
def test_every_flow_follows_the_interface_list(mesh: Mesh) -> None:
    agrees(mesh, SHOULD, PORTS, ("net1",))


@check(
    "ALL-010",
    requirement="With an outbound port exclusion alone, exactly the connections to its port MUST be"
    " direct, of all that there can be.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    needs=NEEDS,
)
def test_every_flow_follows_the_outbound_port_list(mesh: Mesh) -> None:
    agrees(mesh, MUST, {"flomesh.io/outbound-port-exclusion-list": "5432"})


@check(
    "ALL-011",
    requirement="With an inbound port exclusion alone, exactly the connections to its port MUST be"
    " direct, of all that there can be.",
    spec="SPEC-11.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
    needs=NEEDS,
)
def test_every_flow_follows_the_inbound_port_list(mesh: Mesh) -> None:
    agrees(mesh, MUST, {"flomesh.io/inbound-port-exclusion-list": "9443"})
