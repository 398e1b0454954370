"""Pods that have addresses of one IP version alone."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    Acceptor,
    Feature,
    KernelSettings,
    Mesh,
    Profile,
    Programmer,
    SingleFamily,
    check,
)

WITHOUT_IPV6 = {"ipv6/conf/all/disable_ipv6": "1"}


@check(
    "V6-009",
    requirement="A pod with addresses of one IP version alone MUST be redirected like a pod of"
    " both.",
    spec="SPEC-14.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_pod_of_one_family_is_redirected(
    mesh: Mesh, programmer: Programmer, kernel: KernelSettings, single_family: SingleFamily
) -> None:
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


@check(
    "V6-010",
    requirement="The exclusions of a pod with addresses of one IP version alone MUST take effect"
    " like those of a pod of both.",
    spec="SPEC-14.5",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.INBOUND_PORT_EXCLUSION,
    },
)
def test_exclusions_of_a_pod_of_one_family(
    mesh: Mesh, programmer: Programmer, single_family: SingleFamily
) -> None:
    pod = single_family.bare_pod()
    excluded = {
        "flomesh.io/outbound-ip-range-exclusion-list": str(ip_network(mesh.server.address)),
        "flomesh.io/outbound-port-exclusion-list": "6379",
        "flomesh.io/inbound-port-exclusion-list": "6379",
    }

    programmer.program(pod, annotations=excluded)
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.client, 6379).direct
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct
