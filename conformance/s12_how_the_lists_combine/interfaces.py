"""Network interfaces that are excluded."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Feature,
    Mesh,
    Need,
    Pod,
    Profile,
    Programmer,
    SearchTools,
    SecondInterface,
    Section,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import (
    ALL_LISTS,
    EXAMPLE_PORTS,
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    INCLUDED_RANGES,
    MESH_EXCLUDED_INTERFACES,
)

LONGEST_NAME = "net1-of-15-byte"
"""The longest name of an interface (IFNAMSIZ in linux/if.h counts a final zero)."""

BEGINNINGS = ("net1", LONGEST_NAME[:-1])
"""Names of other interfaces; one ends in a digit, as most do, and one is as long as can be."""

section = Section(12, Profile.EXCLUSIONS, {Feature.NETWORK_INTERFACE_EXCLUSION})


def _assert_captured_on_eth0(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _assert_direct_on_eth0(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct


def _assert_captured_on_net1(
    mesh: Mesh, pod: Pod, second: SecondInterface, name: str = "net1"
) -> None:
    beyond, own = second.remote_address(), second.interface_address(pod)
    assert pod.connect(beyond, 8080, interface=name).captured_outbound
    assert mesh.client.connect(own, 8080, interface=name).captured_inbound


def _assert_direct_on_net1(mesh: Mesh, pod: Pod, second: SecondInterface) -> None:
    beyond, own = second.remote_address(), second.interface_address(pod)
    assert pod.connect(beyond, 8080, interface="net1").direct
    assert mesh.client.connect(own, 8080, interface="net1").direct


@section.check("MULTI-001", "12.5")
def test_excluded_interface_is_direct_both_ways(mesh: Mesh, second: SecondInterface) -> None:
    """TCP in either direction on an excluded network interface SHOULD be direct, the other
    interface staying captured."""
    pod = second.pod(mesh_config={MESH_EXCLUDED_INTERFACES: ["net1"]})

    _assert_captured_on_eth0(mesh, pod)
    _assert_direct_on_net1(mesh, pod, second)


@section.check("MULTI-002", "12.5")
def test_first_interface_can_be_excluded(mesh: Mesh, second: SecondInterface) -> None:
    """An interface exclusion SHOULD act on the interface it names and on no other, the pod's first
    interface included."""
    pod = second.pod(mesh_config={MESH_EXCLUDED_INTERFACES: ["net7", "eth0"]})

    _assert_captured_on_net1(mesh, pod, second)
    _assert_direct_on_eth0(mesh, pod)


@section.check("MULTI-003", "12.5")
def test_every_interface_of_a_list_is_direct(mesh: Mesh, second: SecondInterface) -> None:
    """Each interface of a list SHOULD count wherever it stands, interfaces that the pod lacks
    meaning nothing."""
    first = second.pod(mesh_config={MESH_EXCLUDED_INTERFACES: ["net1", "net7"]})
    last = second.pod(mesh_config={MESH_EXCLUDED_INTERFACES: ["net7", "eth0"]})

    _assert_captured_on_eth0(mesh, first)
    _assert_direct_on_net1(mesh, first, second)
    _assert_captured_on_net1(mesh, last, second)
    _assert_direct_on_eth0(mesh, last)


@section.check("MULTI-004", "12.5")
def test_interface_names_are_compared_in_full(mesh: Mesh, second: SecondInterface) -> None:
    """An interface SHOULD stay captured when only names that begin like its own, or longer ones,
    are excluded."""
    pod = second.pod(mesh_config={MESH_EXCLUDED_INTERFACES: ["net", "net10", "eth", "eth01"]})

    _assert_captured_on_eth0(mesh, pod)
    _assert_captured_on_net1(mesh, pod, second)


@section.check("MULTI-005", "12.5", families=(4,))
def test_interface_name_too_long_is_never_half_honoured(
    mesh: Mesh, programmer: Programmer, second: SecondInterface
) -> None:
    """An interface name that is longer than the kernel allows SHOULD be refused or match
    nothing, and one that the interface's name begins with SHOULD NOT match it."""
    control, pod = (second.bare_pod(interface=LONGEST_NAME) for _ in range(2))

    programmer.program(control, mesh_config={MESH_EXCLUDED_INTERFACES: BEGINNINGS})
    _assert_captured_on_net1(mesh, control, second, LONGEST_NAME)
    lists = {MESH_EXCLUDED_INTERFACES: [f"{LONGEST_NAME}-and-more"]}
    if programmer.try_program(pod, mesh_config=lists).accepted:
        _assert_captured_on_eth0(mesh, pod)
        _assert_captured_on_net1(mesh, pod, second, LONGEST_NAME)


@section.check(
    "MULTI-006", "12.5", profile=Profile.INCLUSIONS, features={*ALL_LISTS, *section.features}
)
def test_other_lists_act_with_the_interface_list(mesh: Mesh, second: SecondInterface) -> None:
    """An excluded interface SHOULD be direct although an included range covers the address, and
    the other lists SHOULD keep their effect on the other interfaces."""
    server, node, beyond = map(
        str, map(ip_network, (mesh.server.address, mesh.node.address, second.remote_address()))
    )
    lists = {
        INCLUDED_RANGES: f"{beyond},{node},{server}",
        EXCLUDED_RANGES: node,
        EXCLUDED_OUTBOUND_PORTS: "6379",
        EXCLUDED_INBOUND_PORTS: "7070",
    }
    pod = second.pod(annotations=lists, mesh_config={MESH_EXCLUDED_INTERFACES: ["net1"]})

    _assert_captured_on_eth0(mesh, pod)
    _assert_direct_on_net1(mesh, pod, second)
    for host, port in ((mesh.client, 8080), (mesh.node, 8080), (mesh.server, 6379)):
        assert pod.connect(host, port).direct
    assert mesh.client.connect(pod, 7070).direct


@section.check("INIT-016", "12.5", profile=Profile.LIFECYCLE, families=(4,))
def test_second_run_replaces_the_interface_list(
    mesh: Mesh, programmer: Programmer, second: SecondInterface
) -> None:
    """An interface that a second run excludes no longer SHOULD be captured again."""
    pod = second.bare_pod()
    beyond, own = second.remote_address(), second.interface_address(pod)

    programmer.program(pod, mesh_config={MESH_EXCLUDED_INTERFACES: ["net1"]})
    assert pod.connect(beyond, 8080, interface="net1").direct
    assert mesh.client.connect(own, 8080, interface="net1").direct
    if programmer.try_program(pod, mesh_config={MESH_EXCLUDED_INTERFACES: ["eth0"]}).accepted:
        assert pod.connect(beyond, 8080, interface="net1").captured_outbound
        assert mesh.client.connect(own, 8080, interface="net1").captured_inbound
        assert pod.connect(mesh.server, 8080).direct
        assert mesh.client.connect(pod, 8080).direct


_WITH_PORTS = {
    Feature.OUTBOUND_PORT_EXCLUSION,
    Feature.INBOUND_PORT_EXCLUSION,
    Feature.NETWORK_INTERFACE_EXCLUSION,
}


@section.check("ALL-009", "12.5", features=_WITH_PORTS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_interface_list(
    mesh: Mesh,
    tools: SearchTools,
    second: SecondInterface,
) -> None:
    """With one of two interfaces excluded, exactly the connections that use it SHOULD be direct,
    of all that there can be."""
    lists = {MESH_EXCLUDED_INTERFACES: ["net1"]}
    assert search_pod(mesh, tools, SHOULD, EXAMPLE_PORTS, second, lists).agrees


@section.check("ALL-015", "12.1", features=_WITH_PORTS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_the_other_lists_beside_the_interface_list(
    mesh: Mesh,
    tools: SearchTools,
    second: SecondInterface,
) -> None:
    """With one of two interfaces excluded, each port list MUST act in its own direction only, and
    reserved ports keep their meaning, on the other interface."""
    lists = {MESH_EXCLUDED_INTERFACES: ["net1"]}
    assert search_pod(mesh, tools, MUST, EXAMPLE_PORTS, second, lists).agrees
