"""Fuzz campaigns without packets: the oracle answers flows under a deliberately wrong policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from ipaddress import ip_network

import pytest

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.fuzz.campaign import Campaign, CampaignResult
from pytest_fsmredir.fuzz.pruning import parts
from pytest_fsmredir.model.checks import MUST, SHOULD, Level
from pytest_fsmredir.model.claims import Proven
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
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
from pytest_fsmredir.model.reserved import SERVED_PORTS
from pytest_fsmredir.probing.aim import ProbeFlow, ProbeTargets
from pytest_fsmredir.probing.network import TrialNetwork

SEED = 3  # begins with policies that show all of these
OWN = "10.77.0.2"
CLIENT = Address("203.0.113.20", 40000)
LISTENERS = (
    Acceptor.METRICS, Acceptor.LIVENESS, Acceptor.READINESS, Acceptor.STARTUP, Acceptor.HEALTH,
)  # fmt: skip
BY = {
    Route.DIRECT: Acceptor.ORIGIN,
    Route.SIDECAR_OUTBOUND: Acceptor.SIDECAR_OUTBOUND,
    Route.SIDECAR_INBOUND: Acceptor.SIDECAR_INBOUND,
}

Change = Callable[[Policy], Policy]


class Paper:
    """A pod that follows a changed policy exactly."""

    def __init__(self, policy: Policy, change: Change, limit: int) -> None:
        with_second = bool(policy.network_interface_exclusion_list)
        self.scene = ProbeTargets(
            family=4, server="198.51.100.10", pod=OWN, loopback="127.0.0.1", silent="203.0.113.99",
            second="10.78.0.2" if with_second else None,
            beyond="198.19.0.10" if with_second else None,
        )  # fmt: skip
        self.own_addresses: tuple[str, ...] = (OWN, "10.78.0.2")
        self._policy, self._limit = change(policy), limit

    def program(self) -> Programming:
        """Refuse lists of ports beyond the limit."""
        lists = (
            self._policy.outbound_port_exclusion_list,
            self._policy.inbound_port_exclusion_list,
        )
        accepted = max(map(len, lists)) <= self._limit
        return Programming(accepted, "" if accepted else "too many\nports")

    def search(self, level: Level) -> Proven:
        """Prove nothing: there are no rules."""
        return Proven(True, "", "", status=f"no rules for {level}")

    def listen(self, flow: Flow) -> None:
        """Do nothing: every listener is already there."""

    def send(self, probes: Iterable[ProbeFlow]) -> Iterator[Fate]:
        """Return the fates that the oracle predicts."""
        return (self._fate(probe.flow) for probe in probes)

    def _fate(self, flow: Flow) -> Fate:
        by = BY[expected(self._policy, flow, self.own_addresses)]
        port = flow.destination.port
        inbound_tcp = flow.direction is Direction.INBOUND and flow.protocol is Protocol.TCP
        if by is Acceptor.ORIGIN and inbound_tcp and port in SERVED_PORTS:
            by = LISTENERS[SERVED_PORTS.index(port)]
        return Fate(flow, CLIENT, (Acceptance(0, by, flow.destination, CLIENT),))


def campaign(
    change: Change = lambda policy: policy,
    *,
    limit: int = 65535,
    features: frozenset[Feature] = ALL_FEATURES,
    effort: int = 300,
) -> Campaign:
    def on_paper(configuration: Configuration) -> AbstractContextManager[TrialNetwork]:
        return nullcontext(Paper(configuration.policy(), change, limit))

    return Campaign(on_paper, features=features, families=(4,), shrink_effort=effort)


def search(change: Change, level: Level = MUST, *, policies: int = 40) -> CampaignResult:
    return campaign(change).search(policies=policies, seed=SEED, level=level)


def every_range(change: Callable[[Network], Network]) -> Change:
    def changed(policy: Policy) -> Policy:
        ranges = policy.outbound_ip_range_exclusion_list
        return replace(policy, outbound_ip_range_exclusion_list=tuple(map(change, ranges)))

    return changed


def halved(network: Network) -> Network:
    return ip_network(f"{network[0]}/25") if network.prefixlen == 24 else network


def inclusion_first(policy: Policy) -> Policy:
    """Drop all exclusions where there is an inclusion."""
    if not policy.outbound_ip_range_inclusion_list:
        return policy
    return replace(policy, outbound_port_exclusion_list=(), outbound_ip_range_exclusion_list=())


def without(name: ListName, position: int) -> Change:
    """Return a change that drops one item of a list with several items."""

    def changed(policy: Policy) -> Policy:
        items = list(getattr(policy, name.value))
        if len(items) > 1:
            items.pop(position)
        return replace(policy, **{name.value: tuple(items)})

    return changed


def test_pod_that_follows_the_policy_passes() -> None:
    """Catches: a false alarm."""
    tried = campaign()
    results = [tried.search(policies=8, seed=SEED, level=level) for level in (MUST, SHOULD)]

    assert [result.disagreement for result in results] == [None, None]
    assert results[0].flows > 8 * 50
    assert (results[1].pods, results[1].flows) == (0, 0)


def test_search_goes_on_where_an_earlier_one_ended() -> None:
    """Catches: a resumed search tries other policies, or judges the first ones again."""
    whole, first, rest = campaign(), campaign(), campaign()
    together = whole.search(policies=9, seed=SEED, level=MUST)
    parts = [
        first.search(policies=4, seed=SEED, level=MUST),
        rest.search(policies=9, seed=SEED, level=MUST, without=4),
    ]

    assert [part.policies for part in parts] == [4, 5]
    assert sum(part.flows for part in parts) == together.flows


def test_interrupted_search_says_how_to_go_on() -> None:
    """Catches: what an interrupted search has judged is lost."""
    seen: list[Policy] = []

    def interrupted(policy: Policy) -> Policy:
        seen.append(policy)
        if len(seen) == 4:
            raise KeyboardInterrupt("terminated by SIGTERM")
        return policy

    with pytest.raises(KeyboardInterrupt) as caught:
        campaign(interrupted).search(policies=30, seed=SEED, level=MUST, without=2)
    assert str(caught.value) == (
        f"terminated by SIGTERM; 3 of 28 policies of seed {SEED} agree:"
        f" go on with --fsm-seed {SEED} --fsm-fuzz 6-30"
    )


def test_limit_of_fifteen_ports_is_shown_with_sixteen() -> None:
    """Catches: a missed limit of 15 ports, or a counterexample that lists a hundred ports."""
    found = campaign(limit=15).search(policies=40, seed=SEED, level=MUST).disagreement

    assert found is not None
    policy = found.configuration.policy()
    lists = {policy.outbound_port_exclusion_list, policy.inbound_port_exclusion_list}
    assert lists == {(), tuple(range(1, 17))}
    assert policy.outbound_ip_range_exclusion_list == policy.outbound_ip_range_inclusion_list == ()
    assert (found.probe, found.seen) == (None, "refused: too many ports")


def test_wrong_range_shrinks_to_one_entry_and_one_flow() -> None:
    """Catches: a disagreement shown with a configuration of a hundred values."""
    found = search(every_range(halved)).disagreement

    assert found is not None
    settings = {**found.configuration.annotations, **found.configuration.traffic}
    assert list(settings.values()) in ([["2.2.2.2/24"]], ["2.2.2.2/24"])
    assert found.probe == ProbeFlow(Flow(Direction.OUTBOUND, Address("2.2.2.255", 8080), uid=1000))
    assert (found.expected, found.level) == ("direct", MUST)
    assert found.seen.startswith("accepted by the sidecar's outbound listener")


def test_should_requirements_are_searched_separately() -> None:
    """Catches: a broken SHOULD that is reported as a broken MUST, or that hides one."""
    assert search(inclusion_first, policies=4).disagreement is None

    found = search(inclusion_first, SHOULD).disagreement
    assert found is not None
    policy = found.configuration.policy()
    assert len(policy.outbound_ip_range_inclusion_list) == 1
    excluded = policy.outbound_ip_range_exclusion_list or policy.outbound_port_exclusion_list
    assert len(excluded) == 1


@pytest.mark.parametrize(
    ("name", "position"),
    [
        (ListName.OUTBOUND_IP_RANGE_INCLUSION, -1),
        (ListName.INBOUND_PORT_EXCLUSION, 0),
    ],
)
def test_lost_item_is_found(name: ListName, position: int) -> None:
    """Catches: a list whose first or last item has no effect."""
    found = search(without(name, position)).disagreement

    assert found is not None
    assert len(getattr(found.configuration.policy(), name.value)) == 2


def test_block_of_items_shrinks_to_one_item() -> None:
    """Catches: a counterexample with a block of a hundred ports where one is enough."""

    def unlisted(policy: Policy) -> Policy:
        ports = tuple(port for port in policy.outbound_port_exclusion_list if not 20 < port < 60000)
        return replace(policy, outbound_port_exclusion_list=ports)

    found = search(unlisted).disagreement

    assert found is not None
    assert len(found.configuration.policy().outbound_port_exclusion_list) == 1


def test_prunings_of_a_list() -> None:
    """Catches: an item that shrinking never removes."""
    assert list(parts("ab")) == [[], ["b"], ["a"]]
    assert list(parts("abc")) == [[], ["a"], ["b", "c"], ["b", "c"], ["a", "c"], ["a", "b"]]


def test_same_seed_finds_the_same_disagreement() -> None:
    """Catches: a disagreement that differs from run to run."""
    first, second = (
        campaign(every_range(halved), effort=5).search(policies=40, seed=SEED, level=MUST)
        for _ in range(2)
    )

    assert first.disagreement is not None
    assert replace(first, seconds=0) == replace(second, seconds=0)


def test_shrinking_stops_at_its_limit() -> None:
    """Catches: a campaign that never stops shrinking."""
    none, some = (
        campaign(limit=15, effort=effort).search(policies=40, seed=SEED, level=MUST)
        for effort in (0, 5)
    )

    assert (none.pods, some.pods) == (none.policies + 1, none.policies + 6)
    assert none.disagreement is not None


def test_interface_lists_are_only_for_implementations_that_claim_them() -> None:
    """Catches: a failure for a feature that the implementation declares as unsupported."""

    def forgetful(policy: Policy) -> Policy:
        return replace(policy, network_interface_exclusion_list=())

    claimed = ALL_FEATURES - {Feature.NETWORK_INTERFACE_EXCLUSION}
    tried = campaign(forgetful, features=claimed)

    assert search(forgetful, SHOULD).disagreement is not None
    assert tried.search(policies=8, seed=SEED, level=SHOULD).disagreement is None


def test_result_shows_settings_to_paste() -> None:
    """Catches: a disagreement that a user cannot reproduce by hand."""
    shown = str(search(every_range(lambda _: ip_network("9.9.9.9/32"))).disagreement)

    assert shown.startswith("tcp from uid 1000 to 2.2.2.2:8080: expected direct; seen accepted by")
    assert '{"flomesh.io/outbound-ip-range-exclusion-list": "2.2.2.2/32"}' in shown
