from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fsmredir.fuzz.strategies import configurations
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Direction,
    Fate,
    Flow,
    Protocol,
    Route,
)
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import ListName, Network, Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS, SIDECAR_UID

OWN = ("10.77.0.2", "fd00:77::2")
REMOTE = ("1.1.1.1", "2.2.2.7", "10.244.3.4", "169.254.169.254", "2001:db8::7", "fd00:1::9")
LOCAL = ("127.0.0.1", "127.0.0.2", "::1")
RANGES = ("0.0.0.0/0", "1.1.1.1/32", "2.2.2.2/24", "10.0.0.0/8", "::/0", "2001:db8::/32")
PORT_NUMBERS = (1, 80, 6379, 7070, 15000, 15001, 15003, 15010, 15901, 15904, 65535)
INTERFACES = ("eth0", "eth1")
INTERFACE_LIST = ListName.NETWORK_INTERFACE_EXCLUSION.mesh_config_key
EXCLUSIONS = tuple(name for name in ListName if name is not ListName.OUTBOUND_IP_RANGE_INCLUSION)

# Few values each, so that many flows match an item.
networks = st.sampled_from(RANGES).map(lambda text: ip_network(text, strict=False))
ports = st.sampled_from(PORT_NUMBERS)
policies = st.builds(
    Policy,
    outbound_ip_range_exclusion_list=st.lists(networks, max_size=2, unique=True).map(tuple),
    outbound_ip_range_inclusion_list=st.lists(networks, max_size=2, unique=True).map(tuple),
    outbound_port_exclusion_list=st.lists(ports, max_size=3, unique=True).map(tuple),
    inbound_port_exclusion_list=st.lists(ports, max_size=3, unique=True).map(tuple),
    network_interface_exclusion_list=st.lists(
        st.sampled_from(INTERFACES), max_size=1, unique=True
    ).map(tuple),
)
outbound_flows = st.builds(
    Flow,
    direction=st.just(Direction.OUTBOUND),
    destination=st.builds(Address, st.sampled_from(REMOTE + LOCAL + OWN), ports),
    uid=st.sampled_from((0, 1000, 1499, SIDECAR_UID, 1501)),
    interface=st.sampled_from(INTERFACES),
)
inbound_flows = st.builds(
    Flow,
    direction=st.just(Direction.INBOUND),
    destination=st.builds(Address, st.sampled_from(OWN), ports),
    interface=st.sampled_from(INTERFACES),
)
flows = outbound_flows | inbound_flows
reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=50)


def app(host: str, port: int = 80, uid: int = 1000) -> Flow:
    return Flow(Direction.OUTBOUND, Address(host, port), uid=uid)


def client(port: int, host: str = OWN[0]) -> Flow:
    return Flow(Direction.INBOUND, Address(host, port))


def ranges(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


@pytest.mark.parametrize(
    ("flow", "route"),
    [
        (app("1.1.1.1"), Route.SIDECAR_OUTBOUND),
        (app("1.1.1.1", uid=0), Route.SIDECAR_OUTBOUND),
        (app("1.1.1.1", uid=1501), Route.SIDECAR_OUTBOUND),
        (app("1.1.1.1", port=15000), Route.SIDECAR_OUTBOUND),
        (app("2001:db8::7"), Route.SIDECAR_OUTBOUND),
        (app("1.1.1.1", uid=SIDECAR_UID), Route.DIRECT),
        (app("127.0.0.1"), Route.DIRECT),
        (app("127.0.0.2"), Route.DIRECT),
        (app("::1"), Route.DIRECT),
        (app("127.0.0.1", uid=SIDECAR_UID), Route.DIRECT),
        (app(OWN[0]), Route.DIRECT),
        (app(OWN[1]), Route.DIRECT),
        (app(OWN[0], uid=SIDECAR_UID), Route.SIDECAR_INBOUND),
        (app(OWN[1], uid=SIDECAR_UID), Route.SIDECAR_INBOUND),
        (client(80), Route.SIDECAR_INBOUND),
        (client(80, host=OWN[1]), Route.SIDECAR_INBOUND),
        (client(15000), Route.SIDECAR_INBOUND),
        (client(15001), Route.SIDECAR_INBOUND),
        (client(15003), Route.SIDECAR_INBOUND),
        *((client(port), Route.DIRECT) for port in SERVED_PORTS),
        (client(15900), Route.SIDECAR_INBOUND),
        (client(15905), Route.SIDECAR_INBOUND),
    ],
    ids=str,
)
def test_route_without_any_list(flow: Flow, route: Route) -> None:
    """Catches: a wrong row in the behaviour of a pod without configuration."""
    assert expected(Policy(), flow, OWN) is route


def test_served_ports_are_those_of_the_seed() -> None:
    """Catches: a missing health port in the constants, which oracle and rules share."""
    assert SERVED_PORTS == (15010, 15901, 15902, 15903, 15904)


def test_exclusion_covers_exactly_its_range() -> None:
    """Catches: an off-by-one at the edges of a range."""
    policy = Policy(outbound_ip_range_exclusion_list=ranges("2.2.2.0/24"))
    hosts = ("2.2.1.255", "2.2.2.0", "2.2.2.255", "2.2.3.0")

    routes = [expected(policy, app(host), OWN) for host in hosts]

    captured, direct = Route.SIDECAR_OUTBOUND, Route.DIRECT
    assert routes == [captured, direct, direct, captured]


def test_inclusion_of_one_family_includes_nothing_of_the_other() -> None:
    """Catches: an inclusion list applied to each family separately: all IPv6 is captured."""
    policy = Policy(outbound_ip_range_inclusion_list=ranges("10.0.0.0/8"))

    assert expected(policy, app("2001:db8::7"), OWN) is Route.DIRECT


@pytest.mark.parametrize("flow", [app("1.1.1.1"), client(80)], ids=str)
def test_excluded_interface_is_exempt_in_both_directions(flow: Flow) -> None:
    """Catches: an interface list that acts in one direction only, or on every interface."""
    policy = Policy(network_interface_exclusion_list=("eth1",))

    assert expected(policy, replace(flow, interface="eth1"), OWN) is Route.DIRECT
    assert expected(policy, flow, OWN) is not Route.DIRECT


@pytest.mark.parametrize("port", [15000, 15001, 15003])
def test_inbound_exclusion_does_not_open_the_sidecars_own_ports(port: int) -> None:
    """Catches: an oracle that expects the admin interface to be reachable from outside."""
    policy = Policy(inbound_port_exclusion_list=(port,))

    assert expected(policy, client(port), OWN) is Route.SIDECAR_INBOUND


@reproducible
@given(policy=policies, extra=policies, name=st.sampled_from(EXCLUSIONS), flow=flows)
def test_more_exclusions_never_capture_more(
    policy: Policy, extra: Policy, name: ListName, flow: Flow
) -> None:
    """Catches: an added exclusion that changes a route to anything but direct."""
    both = (*getattr(policy, name.value), *getattr(extra, name.value))
    excluding_more = replace(policy, **{name.value: both})

    assert expected(excluding_more, flow, OWN) in {expected(policy, flow, OWN), Route.DIRECT}


@reproducible
@given(policy=policies, flow=outbound_flows)
def test_sidecar_is_never_captured_outbound(policy: Policy, flow: Flow) -> None:
    """Catches: a loop: the sidecar's onward connection is redirected to the sidecar."""
    route = expected(policy, replace(flow, uid=SIDECAR_UID), OWN)

    assert route is not Route.SIDECAR_OUTBOUND


@reproducible
@given(policy=policies, flow=outbound_flows, network=networks)
def test_exclusion_beats_inclusion(policy: Policy, flow: Flow, network: Network) -> None:
    """Catches: inclusions applied first, so that an exclusion inside one has no effect."""
    both = replace(
        policy,
        outbound_ip_range_exclusion_list=(network,),
        outbound_ip_range_inclusion_list=(network,),
    )

    assert expected(both, flow, OWN) is not Route.SIDECAR_OUTBOUND


@reproducible
@given(policy=policies, flow=flows, protocol=st.sampled_from((Protocol.UDP, Protocol.ICMP)))
def test_only_tcp_is_captured(policy: Policy, flow: Flow, protocol: Protocol) -> None:
    """Catches: captured UDP or ICMP, including the sidecar's own connection to its pod."""
    assert expected(policy, replace(flow, protocol=protocol), OWN) is Route.DIRECT


@reproducible
@given(policy=policies, flow=flows)
def test_order_of_items_does_not_matter(policy: Policy, flow: Flow) -> None:
    """Catches: a list of which only the first item has an effect."""
    turned = Policy(**{name.value: getattr(policy, name.value)[::-1] for name in ListName})

    assert expected(turned, flow, OWN) is expected(policy, flow, OWN)


@reproducible
@given(policy=policies, flow=flows, data=st.data())
def test_permutations_of_items_do_not_matter(
    policy: Policy, flow: Flow, data: st.DataObject
) -> None:
    """Catches: an item that has an effect only before, or only after, another one."""
    lists = {name.value: getattr(policy, name.value) for name in ListName}
    mixed = {name: tuple(data.draw(st.permutations(items))) for name, items in lists.items()}

    assert expected(Policy(**mixed), flow, OWN) is expected(policy, flow, OWN)


@reproducible
@given(policy=policies, flow=flows)
def test_duplicate_items_have_no_effect(policy: Policy, flow: Flow) -> None:
    """Catches: a duplicate that cancels, or adds to, the first mention."""
    doubled = Policy(**{name.value: 2 * getattr(policy, name.value) for name in ListName})

    assert expected(doubled, flow, OWN) is expected(policy, flow, OWN)


@reproducible
@given(configuration=configurations(), flow=flows)
def test_scope_of_an_item_does_not_matter(configuration: Configuration, flow: Flow) -> None:
    """Catches: an item with one meaning in an annotation and another in the MeshConfig."""
    united = {name.mesh_config_key: values for name, values in configuration.effective().items()}
    in_mesh = Configuration(traffic=united).policy()
    in_pod = Configuration(
        annotations={
            str(name.annotation): ",".join(values)
            for name, values in configuration.effective().items()
            if values and name.annotation is not None
        },
        traffic={key: values for key, values in united.items() if key == INTERFACE_LIST},
    ).policy()

    route = expected(configuration.policy(), flow, OWN)
    assert expected(in_mesh, flow, OWN) is expected(in_pod, flow, OWN) is route


@reproducible
@given(policy=policies, extra=policies, flow=flows)
def test_more_inclusions_never_capture_less(policy: Policy, extra: Policy, flow: Flow) -> None:
    """Catches: an added inclusion that exempts what another one captures."""
    ranges = policy.outbound_ip_range_inclusion_list
    wider = replace(
        policy,
        outbound_ip_range_inclusion_list=ranges + extra.outbound_ip_range_inclusion_list,
    )
    captured = expected(policy, flow, OWN)

    if ranges and captured is not Route.DIRECT:
        assert expected(wider, flow, OWN) is captured


@reproducible
@given(policy=policies, other=policies, flow=outbound_flows)
def test_outbound_ignores_the_inbound_list(policy: Policy, other: Policy, flow: Flow) -> None:
    """Catches: a port list that acts in the wrong direction."""
    changed = replace(policy, inbound_port_exclusion_list=other.inbound_port_exclusion_list)

    assert expected(changed, flow, OWN) is expected(policy, flow, OWN)


@reproducible
@given(policy=policies, flow=inbound_flows)
def test_inbound_ignores_the_outbound_lists(policy: Policy, flow: Flow) -> None:
    """Catches: an outbound exclusion of 0.0.0.0/0 or an inclusion that stops inbound capture."""
    inbound_only = Policy(
        inbound_port_exclusion_list=policy.inbound_port_exclusion_list,
        network_interface_exclusion_list=policy.network_interface_exclusion_list,
    )

    assert expected(policy, flow, OWN) is expected(inbound_only, flow, OWN)


@reproducible
@given(
    pod=st.lists(st.sampled_from(RANGES), min_size=1, max_size=2),
    mesh=st.lists(st.sampled_from(RANGES), min_size=1, max_size=2),
    host=st.sampled_from(REMOTE),
)
def test_inclusions_of_both_scopes_are_merged(pod: list[str], mesh: list[str], host: str) -> None:
    """Catches: inclusions of one scope that hide or narrow those of the other."""
    name = ListName.OUTBOUND_IP_RANGE_INCLUSION
    policy = Configuration(
        annotations={str(name.annotation): ",".join(pod)}, traffic={name.mesh_config_key: mesh}
    ).policy()
    included = any(ip_address(host) in ip_network(text, strict=False) for text in (*pod, *mesh))

    captured = expected(policy, app(host), OWN) is Route.SIDECAR_OUTBOUND

    assert captured is included


@reproducible
@given(
    pod=st.lists(ports, min_size=1, max_size=3),
    mesh=st.lists(ports, min_size=1, max_size=3),
    port=ports,
)
def test_exclusions_of_both_scopes_are_merged(pod: list[int], mesh: list[int], port: int) -> None:
    """Catches: exclusions of one scope that hide those of the other."""
    name = ListName.OUTBOUND_PORT_EXCLUSION
    policy = Configuration(
        annotations={str(name.annotation): ",".join(map(str, pod))},
        traffic={name.mesh_config_key: mesh},
    ).policy()

    direct = expected(policy, app("1.1.1.1", port), OWN) is Route.DIRECT

    assert direct is (port in pod or port in mesh)


def test_wrong_route_is_reported_with_the_expected_route() -> None:
    """Catches: a call that missed a sidecar, reported without the expected route."""
    caller, server = Address("203.0.113.20", 40000), Address("10.77.0.1", 8080)
    hops = (Acceptance(0, Acceptor.SIDECAR_INBOUND, Address("10.77.0.1", 15003), caller, server),)
    fate = Fate(Flow(Direction.INBOUND, Address("192.0.2.1", 30080)), caller, hops)

    assert fate.captured_inbound_as(server)
    assert not fate.captured_inbound
    assert fate.passed(Acceptor.SIDECAR_INBOUND)
    wanted = fate.passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
    assert not wanted
    assert "expected accepted by the sidecar's inbound listener, then the dest" in repr(wanted)


@pytest.mark.parametrize(("host", "holds"), [("10.77.0.1", True), ("10.77.0.2", False)])
def test_redirect_to_another_address_misses_the_dialled_one(host: str, holds: bool) -> None:
    """Catches: a server that is bound to one address, and whose clients another address gets."""
    caller, server = Address("203.0.113.20", 40000), Address("10.77.0.1", 6379)
    hop = Acceptance(0, Acceptor.ORIGIN, Address(host, 6379), caller, server)
    fate = Fate(Flow(Direction.INBOUND, server), caller, (hop,))

    assert fate.direct  # the kernel tells the listener the dialled address
    assert bool(fate.at_dialled_address) is holds


def test_missing_acceptance_is_an_explained_failure() -> None:
    """Catches: ``None`` in ``fate.accepted.peer``, or an error that blames the harness."""
    flow = Flow(Direction.OUTBOUND, Address("192.0.2.1", 80), uid=1000)
    lost = Fate(flow, None, (), "refused")
    with pytest.raises(AssertionError, match="expected accepted by a listener; seen refused"):
        lost.accepted  # noqa: B018 - the property raises
    assert lost.accepted_by is None
