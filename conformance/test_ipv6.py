"""IPv6: what a dual-stack pod owes, and what an implementation of IPv4 only must not leak."""

from __future__ import annotations

from ipaddress import ip_address

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Feature,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Need,
    Profile,
    Programmer,
    Taps,
    check,
    forge,
)

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
BOTH_FAMILIES = {EXCLUSION_LIST: "10.244.0.0/16,2001:db8:7::/64"}
INSIDE = {4: "10.244.3.4", 6: "2001:db8:7::34"}
ADVERTISEMENT = 136  # RFC 4861, 4.4
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"
SOMEWHERE = {4: "198.51.100.10", 6: "2001:db8:5::10"}


def _forms(text: str) -> list[str]:
    """Return text forms of an IPv6 address (RFC 4291, 2.2), other than its usual one."""
    address = ip_address(text)
    groups = [group.lstrip("0") or "0" for group in address.exploded.split(":")]
    tail = ip_address(int(address) & 0xFFFFFFFF)
    return [
        text.upper(),
        address.exploded,
        address.exploded.upper(),
        ":".join(groups),
        ":".join([*groups[:3], "0", "0", "", groups[-1]]),
        ":".join([*groups[:6], str(tail)]),
    ]


@check(
    "V6-001",
    requirement="Outbound IPv6 TCP SHOULD NOT slip past the sidecar, being captured or blocked.",
    spec="SPEC-14.1",
    level=SHOULD,
    profile=Profile.IPV6,
    families=(6,),
)
def test_outbound_ipv6_does_not_leak(mesh: Mesh) -> None:
    pod = mesh.pod()

    fate = pod.connect(mesh.server, 8080)
    assert fate.captured_outbound or fate.unanswered


@check(
    "V6-002",
    requirement="Inbound IPv6 TCP SHOULD NOT slip past the sidecar, being captured or blocked.",
    spec="SPEC-14.1",
    level=SHOULD,
    profile=Profile.IPV6,
    families=(6,),
)
def test_inbound_ipv6_does_not_leak(mesh: Mesh) -> None:
    pod = mesh.pod()

    fate = mesh.client.connect(pod, 8080)
    assert fate.captured_inbound or fate.unanswered


@check(
    "V6-003",
    requirement="IPv6 neighbour discovery and ping MUST work in a programmed pod, both ways.",
    spec="SPEC-14.2",
    level=MUST,
    profile=Profile.IPV6,
    needs={Need.REMOTE_ADDRESSES},
    families=(6,),
)
def test_neighbour_discovery_and_ping_work(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, kernel: KernelSettings
) -> None:
    pod = mesh.pod(fresh=True)

    fates = [pod.connect(address, 8080, answer=False) for address in SOMEWHERE.values()]
    assert any(fate.captured_outbound for fate in fates), "nothing is captured"
    kernel.forget_gateway(pod)
    assert pod.ping(mesh.server).direct
    assert mesh.client.ping(pod).direct
    with taps.of(pod) as tap:
        forged.inject(mesh.client, forge.neighbour_solicitation(mesh.client.address, pod.address))
        tap.expect(
            "the pod's neighbour advertisement",
            lambda packet: packet.source.host == pod.address and packet.body[0] == ADVERTISEMENT,
        )


@check(
    "V6-004",
    requirement="A connection to an IPv4 address from an IPv6 socket SHOULD be captured.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
    families=(4,),
)
def test_ipv4_mapped_connection_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=1500, mapped=True).direct
    assert pod.connect(mesh.server, 8080, mapped=True).captured_outbound


@check(
    "V6-005",
    requirement="An IPv6 range in a list SHOULD be honoured, or be refused before any rule is set.",
    spec="SPEC-14.3",
    level=SHOULD,
    profile=Profile.IPV6,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_ipv6_range_is_honoured_or_refused(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()
    programming = programmer.try_program(pod, annotations=BOTH_FAMILIES)

    assert pod.connect(INSIDE[mesh.family], 8080).direct
    if programming.accepted:
        assert pod.connect(mesh.server, 8080).captured_outbound
    else:
        assert pod.connect(mesh.server, 8080).direct
        assert mesh.client.connect(pod, 8080).direct


@check(
    "V6-006",
    requirement="An IPv6 range SHOULD be honoured, or be refused, in whatever text form of RFC"
    " 4291 it is written.",
    spec="SPEC-14.4",
    level=SHOULD,
    profile=Profile.IPV6,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
    families=(6,),
)
def test_text_form_of_an_ipv6_range_means_nothing(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()
    subnets = [mesh.subnet(number) for number in range(10, 16)]
    networks = [_forms(str(subnet[0xAB]))[n] for n, subnet in enumerate(subnets)]
    hosts = [_forms(str(subnet[0xCD]))[n] for n, subnet in enumerate(subnets)]
    lists = {
        INCLUSION_LIST: ",".join(f"{text}/120" for text in networks),
        EXCLUSION_LIST: ",".join(f"{text}/128" for text in hosts),
    }

    if programmer.try_program(pod, annotations=lists).accepted:
        assert pod.connect(mesh.server, 8080).direct
        for subnet in subnets:
            assert pod.connect(str(subnet[0xCC]), 8080).captured_outbound
            assert pod.connect(str(subnet[0xCD]), 8080).direct
