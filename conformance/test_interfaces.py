"""Network interface exclusions, which have mesh scope only."""

from __future__ import annotations

from pytest_fsmredir import SHOULD, Feature, Mesh, Pod, Profile, SecondInterface, check

EXCLUSION_LIST = "networkInterfaceExclusionList"


def _assert_captured_on_eth0(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _assert_direct_on_eth0(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct


def _assert_captured_on_net1(mesh: Mesh, pod: Pod, second: SecondInterface) -> None:
    beyond, own = second.remote_address(), second.interface_address(pod)
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert mesh.client.connect(own, 8080, interface="net1").captured_inbound


def _assert_direct_on_net1(mesh: Mesh, pod: Pod, second: SecondInterface) -> None:
    beyond, own = second.remote_address(), second.interface_address(pod)
    assert pod.connect(beyond, 8080, interface="net1").direct
    assert mesh.client.connect(own, 8080, interface="net1").direct


@check(
    "MULTI-001",
    requirement="TCP in either direction on an excluded network interface SHOULD be direct, the"
    " other interface staying captured.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_excluded_interface_is_direct_both_ways(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod(mesh_config={EXCLUSION_LIST: ["net1"]})

    _assert_captured_on_eth0(mesh, pod)
    _assert_direct_on_net1(mesh, pod, second)


@check(
    "MULTI-002",
    requirement="An interface exclusion SHOULD act on the interface it names and on no other, the"
    " pod's first interface included.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_first_interface_can_be_excluded(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod(mesh_config={EXCLUSION_LIST: ["net7", "eth0"]})

    _assert_captured_on_net1(mesh, pod, second)
    _assert_direct_on_eth0(mesh, pod)


@check(
    "MULTI-003",
    requirement="Each interface of a list SHOULD count wherever it stands, interfaces that the pod"
    " lacks meaning nothing.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_every_interface_of_a_list_is_direct(mesh: Mesh, second: SecondInterface) -> None:
    first = second.pod(mesh_config={EXCLUSION_LIST: ["net1", "net7"]})
    last = second.pod(mesh_config={EXCLUSION_LIST: ["net7", "eth0"]})

    _assert_captured_on_eth0(mesh, first)
    _assert_direct_on_net1(mesh, first, second)
    _assert_captured_on_net1(mesh, last, second)
    _assert_direct_on_eth0(mesh, last)


@check(
    "MULTI-004",
    requirement="An interface SHOULD stay captured when only names that begin like its own, or"
    " longer ones, are excluded.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
)
def test_interface_names_are_compared_in_full(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod(mesh_config={EXCLUSION_LIST: ["net", "net10", "eth", "eth01"]})

    _assert_captured_on_eth0(mesh, pod)
    _assert_captured_on_net1(mesh, pod, second)


@check(
    "MULTI-005",
    requirement="An interface name that is longer than the kernel allows SHOULD be refused or match"
    " nothing.",
    spec="SPEC-12.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.NETWORK_INTERFACE_EXCLUSION},
    families=(4,),
)
def test_interface_name_too_long_is_never_half_honoured(mesh: Mesh) -> None:
    lists = {EXCLUSION_LIST: ["eth0-and-twelve-bytes"]}

    _assert_captured_on_eth0(mesh, mesh.pod())
    if mesh.try_pod(mesh_config=lists).accepted:
        _assert_captured_on_eth0(mesh, mesh.pod(mesh_config=lists))
