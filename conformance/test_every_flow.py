"""Every flow at once: the rules in a pod say which to send, and packets decide."""

from __future__ import annotations

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Configuration,
    Feature,
    ForeignPrograms,
    KernelSettings,
    Level,
    Mesh,
    Need,
    Profile,
    SecondInterface,
    check,
    search,
)

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
    programs: ForeignPrograms,
    kernel: KernelSettings,
    level: Level,
    annotations: dict[str, str],
    second: SecondInterface | None = None,
    interfaces: tuple[str, ...] = (),
) -> None:
    """Compare one pod with what its lists mean, and see that its rules are in force."""
    config = {"networkInterfaceExclusionList": interfaces} if interfaces else {}
    make = mesh.pod if second is None else second.pod
    pod = make(annotations=annotations, mesh_config=config)
    beyond = None if second is None else second.remote_address()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    asked = Configuration(annotations, config)
    assert search(mesh, pod, programs, kernel, level, asked, beyond).agrees


@check(
    "ALL-001",
    requirement="Every TCP connection, whatever its addresses, ports, user, group and header, MUST"
    " go where it has to in a pod without lists, and UDP and ICMP MUST pass untouched.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_is_treated_as_required(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, {})


@check(
    "ALL-002",
    requirement="Every connection inside the pod, and every rarer packet, SHOULD go where it has to"
    " in a pod without lists.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.CORE,
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_is_treated_as_recommended(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, SHOULD, {})


@check(
    "ALL-003",
    requirement="With port exclusions, exactly the connections to the listed ports MUST be direct,"
    " of all that there can be.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION},
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_port_lists(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, PORTS)


@check(
    "ALL-004",
    requirement="With IP range exclusions, exactly the connections to listed addresses MUST be"
    " direct, of all that there can be.",
    spec="SPEC-8.2",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_excluded_ranges(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, EXCLUDED[mesh.family])


@check(
    "ALL-005",
    requirement="With IP range inclusions, exactly the connections to listed addresses MUST be"
    " captured, of all that there can be.",
    spec="SPEC-9.2",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_included_ranges(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, INCLUDED[mesh.family])


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
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_all_lists(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(
        mesh, programs, kernel, SHOULD, {**PORTS, **EXCLUDED[mesh.family], **INCLUDED[mesh.family]}
    )


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
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_long_lists(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, {**MANY_PORTS, **MANY_RANGES[mesh.family]})


@check(
    "ALL-008",
    requirement="In a pod with two interfaces and several addresses, every TCP connection MUST go"
    " where it has to.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_of_two_interfaces_is_treated_as_required(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings, second: SecondInterface
) -> None:
    agrees(mesh, programs, kernel, MUST, {}, second)


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
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_interface_list(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings, second: SecondInterface
) -> None:
    agrees(mesh, programs, kernel, SHOULD, PORTS, second, ("net1",))


@check(
    "ALL-010",
    requirement="With an outbound port exclusion alone, exactly the connections to its port MUST be"
    " direct, of all that there can be.",
    spec="SPEC-10.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_outbound_port_list(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, {"flomesh.io/outbound-port-exclusion-list": "5432"})


@check(
    "ALL-011",
    requirement="With an inbound port exclusion alone, exactly the connections to its port MUST be"
    " direct, of all that there can be.",
    spec="SPEC-11.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
    needs={Need.CLIENT_ADDRESSES},
)
def test_every_flow_follows_the_inbound_port_list(
    mesh: Mesh, programs: ForeignPrograms, kernel: KernelSettings
) -> None:
    agrees(mesh, programs, kernel, MUST, {"flomesh.io/inbound-port-exclusion-list": "9443"})
