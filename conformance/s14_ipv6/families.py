"""IPv6 traffic, and pods of one IP version."""

from __future__ import annotations

from ipaddress import ip_address

from pytest_fsmredir import (
    Acceptor,
    Feature,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Need,
    Profile,
    Programmer,
    Section,
    SingleFamily,
    Taps,
    forge,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    EXCLUSIONS,
    INCLUDED_RANGES,
)

section = Section(14, Profile.IPV6, families=(6,))

BOTH_FAMILIES = {EXCLUDED_RANGES: "10.244.0.0/16,2001:db8:7::/64"}
INSIDE = {4: "10.244.3.4", 6: "2001:db8:7::34"}
ADVERTISEMENT = 136  # RFC 4861, 4.4
SOMEWHERE = {4: "198.51.100.10", 6: "2001:db8:5::10"}
WITHOUT_IPV6 = {"ipv6/conf/all/disable_ipv6": "1"}


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


@section.check("V6-001", "14.1")
def test_outbound_ipv6_does_not_leak(mesh: Mesh) -> None:
    """Outbound IPv6 TCP SHOULD NOT slip past the sidecar, being captured or blocked."""
    pod = mesh.pod()

    fate = pod.connect(mesh.server, 8080)
    assert fate.captured_outbound or fate.unanswered


@section.check("V6-002", "14.1")
def test_inbound_ipv6_does_not_leak(mesh: Mesh) -> None:
    """Inbound IPv6 TCP SHOULD NOT slip past the sidecar, being captured or blocked."""
    pod = mesh.pod()

    fate = mesh.client.connect(pod, 8080)
    assert fate.captured_inbound or fate.unanswered


@section.check("V6-003", "14.2", needs={Need.REMOTE_ADDRESSES})
def test_neighbour_discovery_and_ping_work(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, kernel: KernelSettings
) -> None:
    """IPv6 neighbour discovery and ping MUST work in a programmed pod, both ways."""
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


@section.check("V6-005", "14.3", features={Feature.OUTBOUND_IP_RANGE_EXCLUSION}, families=(4, 6))
def test_ipv6_range_is_honoured_or_refused(mesh: Mesh, programmer: Programmer) -> None:
    """An IPv6 range in a list SHOULD be honoured, or be refused before any rule is set."""
    pod = mesh.bare_pod()
    programming = programmer.try_program(pod, annotations=BOTH_FAMILIES)

    assert pod.connect(INSIDE[mesh.family], 8080).direct
    if programming.accepted:
        assert pod.connect(mesh.server, 8080).captured_outbound
    else:
        assert pod.connect(mesh.server, 8080).direct
        assert mesh.client.connect(pod, 8080).direct


@section.check(
    "V6-006",
    "14.4",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_text_form_of_an_ipv6_range_means_nothing(mesh: Mesh, programmer: Programmer) -> None:
    """An IPv6 range SHOULD be honoured, or be refused, in whatever text form of RFC 4291 it is
    written."""
    pod = mesh.bare_pod()
    subnets = [mesh.subnet(number) for number in range(10, 16)]
    networks = [_forms(str(subnet[0xAB]))[n] for n, subnet in enumerate(subnets)]
    hosts = [_forms(str(subnet[0xCD]))[n] for n, subnet in enumerate(subnets)]
    lists = {
        INCLUDED_RANGES: ",".join(f"{text}/120" for text in networks),
        EXCLUDED_RANGES: ",".join(f"{text}/128" for text in hosts),
    }

    if programmer.try_program(pod, annotations=lists).accepted:
        assert pod.connect(mesh.server, 8080).direct
        for subnet in subnets:
            assert pod.connect(str(subnet[0xCC]), 8080).captured_outbound
            assert pod.connect(str(subnet[0xCD]), 8080).direct


@section.check("V6-009", "14.5", profile=Profile.CORE, families=(4, 6))
def test_pod_of_one_family_is_redirected(
    mesh: Mesh, programmer: Programmer, kernel: KernelSettings, single_family: SingleFamily
) -> None:
    """A pod with addresses of one IP version alone MUST be redirected like a pod of both."""
    pod = single_family.bare_pod()

    with kernel.changed(pod, WITHOUT_IPV6 if mesh.family == 4 else {}):
        programmer.program(pod)
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert pod.connect(mesh.loopback(), 8080).direct
        assert pod.datagram(mesh.server, 8080).direct
        assert mesh.client.connect(pod, 8080).captured_inbound
        assert mesh.client.connect(pod, 15904).reached(Acceptor.HEALTH)
        assert mesh.client.datagram(pod, 8080).direct


@section.check("V6-010", "14.5", profile=Profile.EXCLUSIONS, features=EXCLUSIONS, families=(4, 6))
def test_exclusions_of_a_pod_of_one_family(
    mesh: Mesh, programmer: Programmer, single_family: SingleFamily
) -> None:
    """The exclusions of a pod with addresses of one IP version alone MUST take effect like those
    of a pod of both."""
    pod = single_family.bare_pod()
    excluded = {
        EXCLUDED_RANGES: range_of(mesh.server),
        EXCLUDED_OUTBOUND_PORTS: "6379",
        EXCLUDED_INBOUND_PORTS: "6379",
    }

    programmer.program(pod, annotations=excluded)
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.client, 6379).direct
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct
