from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import ip_network

import pytest
from hypothesis import given, settings

from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.fuzz import require_hypothesis
from pytest_fsmredir.fuzz.draws import Draws
from pytest_fsmredir.fuzz.strategies import configurations
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.flow import Address, Direction, Flow, Protocol
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import ListName, Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS, SIDECAR_UID
from pytest_fsmredir.probing.aim import (
    SIDECARS_OWN_PORTS,
    ProbeTargets,
    addresses_at,
    can_be_dialled,
    ports_at,
    probes,
)

SCENE = ProbeTargets(
    family=4,
    server="198.51.100.10",
    pod="10.77.0.2",
    loopback="127.0.0.1",
    silent="203.0.113.99",
)
RANGES = ListName.OUTBOUND_IP_RANGE_EXCLUSION
reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=25)


@cache
def drawn(count: int, seed: int = 1) -> tuple[Configuration, ...]:
    """Return the first draws of a seed."""
    found: list[Configuration] = []

    def keep(configuration: Configuration) -> bool:
        found.append(configuration)
        return False

    Draws(configurations(), seed, keep).first(count)
    return tuple(found)


def flows(policy: Policy, scene: ProbeTargets = SCENE) -> list[Flow]:
    return [probe.flow for probe in probes(policy, scene)]


def outbound(policy: Policy) -> set[Address]:
    return {flow.destination for flow in flows(policy) if flow.direction is Direction.OUTBOUND}


@reproducible
@given(configurations())
def test_every_configuration_is_valid(configuration: Configuration) -> None:
    """Catches: an implementation that fails because it refuses an invalid configuration."""
    policy = configuration.policy()

    assert not {*policy.inbound_port_exclusion_list} & {*SIDECARS_OWN_PORTS}
    assert all(configuration.annotations.values())
    assert all(configuration.traffic.values())


@reproducible
@given(configurations(families=(4,), features={Feature.INBOUND_PORT_EXCLUSION}))
def test_unclaimed_lists_stay_empty(configuration: Configuration) -> None:
    """Catches: a failure for a feature that the implementation declares as unsupported."""
    allowed = ListName.INBOUND_PORT_EXCLUSION

    assert set(configuration.annotations) <= {allowed.annotation}
    assert set(configuration.traffic) <= {allowed.mesh_config_key}


@reproducible
@given(configurations(families=(4,)))
def test_ranges_are_of_the_given_families(configuration: Configuration) -> None:
    """Catches: IPv6 ranges for an implementation that may refuse them."""
    policy = configuration.policy()
    ranges = policy.outbound_ip_range_exclusion_list + policy.outbound_ip_range_inclusion_list

    assert {network.version for network in ranges} <= {4}


def test_same_seed_draws_the_same_configurations() -> None:
    """Catches: a disagreement that cannot be reproduced."""
    assert drawn.__wrapped__(5, 7) == drawn.__wrapped__(10, 7)[:5]
    assert drawn(5, 7) != drawn(5, 8)


def test_the_first_configuration_is_empty() -> None:
    """Catches: a campaign that never tests a pod without lists."""
    assert drawn(1) == (Configuration(),)


@pytest.mark.parametrize("length", [1, 2, 3, 14, 15, 16, 17, 100])
def test_lists_have_lengths_around_the_limits(length: int) -> None:
    """Catches: a limit of 15 ports that no generated list reaches."""
    lengths = {
        len(values) for configuration in drawn(120) for values in configuration.traffic.values()
    }

    assert length in lengths


def test_configurations_cover_the_unusual_values() -> None:
    """Catches: a generator that draws only ordinary values."""
    policies = [configuration.policy() for configuration in drawn(120)]
    ranges = [network for policy in policies for network in policy.outbound_ip_range_exclusion_list]

    assert {(4, 0), (4, 32), (6, 0), (6, 128)} <= {(n.version, n.prefixlen) for n in ranges}
    assert any(_nested(policy) for policy in policies)
    assert any("eth0" in policy.network_interface_exclusion_list for policy in policies)


def test_configurations_cover_the_unusual_notations() -> None:
    """Catches: blanks, host bits or a second scope that no configuration has."""
    texts = [text for each in drawn(120) for text in each.effective()[RANGES]]
    networks = [(text, ip_network(text, strict=False)) for text in texts]

    assert any(text != str(network) for text, network in networks)
    assert any(", " in text for each in drawn(120) for text in each.annotations.values())
    assert any(
        RANGES.annotation in each.annotations and RANGES.mesh_config_key in each.traffic
        for each in drawn(120)
    )


def _nested(policy: Policy) -> bool:
    ranges = policy.outbound_ip_range_exclusion_list
    return any(
        one != other and one.version == other.version and one.overlaps(other)
        for one in ranges
        for other in ranges
    )


def test_edges_of_a_range_and_their_neighbours() -> None:
    """Catches: a range that ends one address early, and no flow that shows it."""
    networks = [ip_network("2.2.2.0/24"), ip_network("2001:db8::/64")]

    assert addresses_at(networks, 4) == ["2.2.2.0", "2.2.2.255", "2.2.1.255", "2.2.3.0"]
    assert addresses_at(networks, 6) == [
        "2001:db8::",
        "2001:db8::ffff:ffff:ffff:ffff",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8:0:1::",
    ]


def test_edges_of_the_whole_address_space_are_left_out() -> None:
    """Catches: a flow to 0.0.0.0 or to broadcast, which no implementation can redirect."""
    assert addresses_at([ip_network("0.0.0.0/0"), ip_network("0.0.0.0/1")], 4) == ["128.0.0.0"]


@pytest.mark.parametrize(
    "address",
    ["0.0.0.1", "10.77.0.3", "127.0.0.1", "169.254.1.1", "198.19.0.1", "224.0.0.1",
     "255.255.255.255", "::", "::1", "::ffff:1.2.3.4", "fe80::1", "ff02::1", "fd77:1::2"],
)  # fmt: skip
def test_addresses_without_a_listener_are_left_out(address: str) -> None:
    """Catches: a flow that the harness loses and blames on the implementation."""
    assert not can_be_dialled(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "10.244.0.1", "223.255.255.255", "2001:db8::1"])
def test_addresses_with_a_listener_are_used(address: str) -> None:
    """Catches: an edge that is never tested."""
    assert can_be_dialled(address)


def test_ports_and_their_neighbours() -> None:
    """Catches: an off-by-one in an exclusion, or a port number that does not exist."""
    assert ports_at([1, 80, 65535]) == [1, 80, 65535, 2, 79, 81, 65534]


def test_each_listed_item_has_a_flow() -> None:
    """Catches: a list with no flow that depends on it."""
    policy = Policy(
        outbound_ip_range_exclusion_list=(ip_network("2.2.2.0/24"),),
        outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/9"),),
        outbound_port_exclusion_list=(6379,),
        inbound_port_exclusion_list=(7070,),
    )
    inbound = {flow.destination.port for flow in flows(policy) if flow.uid is None}

    assert {"2.2.1.255", "2.2.2.0", "2.2.2.255", "2.2.3.0"} <= {
        each.host for each in outbound(policy)
    }
    assert {"10.0.0.0", "10.127.255.255"} & {each.host for each in outbound(policy)}
    assert {6378, 6379, 6380, 7070} <= {each.port for each in outbound(policy)}
    assert {7069, 7070, 7071, 6379} <= inbound


def test_flows_cover_users_reserved_ports_the_pod_and_udp() -> None:
    """Catches: a campaign without other users, reserved ports, the pod itself or UDP."""
    everything = flows(Policy())
    inbound = {flow.destination.port for flow in everything if flow.uid is None}

    assert {flow.uid for flow in everything} == {None, 0, 1000, 1499, SIDECAR_UID, 1501}
    assert {*SERVED_PORTS, *SIDECARS_OWN_PORTS, 14999, 15002, 15900, 15905} <= inbound
    assert {"10.77.0.2", "127.0.0.1", "127.0.0.2"} <= {each.host for each in outbound(Policy())}
    assert {flow.protocol for flow in everything} == {Protocol.TCP, Protocol.UDP}


def test_listed_ports_are_the_first_source_ports() -> None:
    """Catches: an exclusion matched against the source port; a source port that a listener uses."""
    policy = Policy(outbound_port_exclusion_list=(6379,), inbound_port_exclusion_list=(7070,))
    from_ports = [probe for probe in probes(policy, SCENE) if probe.source_port is not None]

    assert probes(policy, SCENE)[: len(from_ports)] == from_ports
    assert [(probe.source_port, probe.flow.direction) for probe in from_ports] == [
        (6379, Direction.OUTBOUND),
        (7070, Direction.INBOUND),
    ]
    assert not {probe.flow.destination.port for probe in from_ports} & {6379, 7070}


def test_second_interface_has_flows_in_both_directions() -> None:
    """Catches: an excluded interface without flows."""
    scene = replace(SCENE, second="10.78.0.2", beyond="198.19.0.10")
    through = [flow for flow in flows(Policy(), scene) if flow.interface == "net1"]

    assert {flow.direction for flow in through} == {*Direction}
    assert {flow.destination.host for flow in through} == {"10.78.0.2", "198.19.0.10"}


def test_flows_are_unique_and_limited() -> None:
    """Catches: time spent on flows whose fate is already known."""
    policy = drawn(120)[-1].policy()

    assert len(set(probes(policy, SCENE))) == len(probes(policy, SCENE)) < 3000


def test_flows_cover_different_routes() -> None:
    """Catches: flows that all have the same fate, whatever the lists contain."""
    policy = Policy(outbound_port_exclusion_list=(6379,), inbound_port_exclusion_list=(7070,))
    routes = {expected(policy, flow, ("10.77.0.2",)) for flow in flows(policy)}

    assert len(routes) == 3


def test_missing_hypothesis_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a traceback in place of the command that installs hypothesis."""
    monkeypatch.setattr("pytest_fsmredir.fuzz.find_spec", lambda _: None)

    with pytest.raises(PreflightError, match=r"pip install 'pytest-fsmredir\[fuzz\]'"):
        require_hypothesis([])


def test_option_of_hypothesis_is_refused() -> None:
    """Catches: a seed for hypothesis that seems to choose the policies, and has no effect."""
    require_hypothesis(["--fsm-fuzz=3", "--fsm-seed=4"])
    with pytest.raises(PreflightError, match=r"--hypothesis-seed has no effect .* --fsm-seed"):
        require_hypothesis(["--fsm-fuzz=3", "--hypothesis-seed=4"])


def test_features_of_all_lists_are_known() -> None:
    """Catches: an unclaimed list that is generated because its feature name differs."""
    assert {
        Feature(name.removesuffix("_list").replace("_", "-")) for name in ListName
    } < ALL_FEATURES
