"""Fuzz with real packets: one correct and three wrong implementations."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.fuzz.campaign import Campaign, CampaignResult
from pytest_fsmredir.fuzz.checks import campaign_on
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant, Refused, Target
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference import Reference
from pytest_fsmredir.implementations.reference.rules import (
    Chain,
    Family,
    SidecarPorts,
    Table,
    creation,
    rule_sets,
)
from pytest_fsmredir.model.checks import MUST, SHOULD
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.policy import Network, Policy

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

TODAY = Path(__file__).parents[1] / "neutral" / "fsm_current.sh"
SEED = 3
IPV4_ONLY = ALL_FEATURES - {Feature.IPV6}


class Changed:
    """The IPv4 reference with a changed policy or changed rules."""

    name = "changed"

    def __init__(
        self,
        policy: Callable[[Policy], Policy] = lambda policy: policy,
        rules: Callable[[list[str]], list[str]] = lambda rules: rules,
    ) -> None:
        self.features = IPV4_ONLY - {Feature.NETWORK_INTERFACE_EXCLUSION}
        self._policy, self._rules = policy, rules

    def program(self, target: Target) -> None:
        """Load the changed rules."""
        policy = self._policy(target.configuration.policy())
        sets = rule_sets(policy, SidecarPorts(), Family.IPV4)
        right = sets[Table.NAT]
        wrong = replace(right, rules=tuple(self._rules(list(right.rules))))
        given = creation({**sets, Table.NAT: wrong})
        ended = target.run(["iptables-restore", "--noflush"], given)
        if ended.status != 0:
            raise Refused(ended.stderr)


def half_of_every_24(policy: Policy) -> Policy:
    ranges = tuple(map(_halved, policy.outbound_ip_range_exclusion_list))
    return replace(policy, outbound_ip_range_exclusion_list=ranges)


def _halved(network: Network) -> Network:
    is_24 = (network.version, network.prefixlen) == (4, 24)
    return ip_network(f"{network[0]}/25") if is_24 else network


def inclusions_first(rules: list[str]) -> list[str]:
    """Move the inclusions in front of the exclusions."""
    included = [rule for rule in rules if rule.endswith(Chain.TO_OUTBOUND) and " -d " in rule]
    others = [rule for rule in rules if rule not in included]
    start = next(n for n, rule in enumerate(others) if rule.endswith("-o lo -j RETURN")) + 2
    return [*others[:start], *included, *others[start:]]


@contextmanager
def campaign(implementation: Implementation, family: int = 4) -> Iterator[Campaign]:
    families = (4, 6) if Feature.IPV6 in implementation.features else (4,)
    with closing(NetnsBackend(implementation, families=families, timeout_s=5)) as backend:
        mesh = backend.mesh(family, IptablesVariant.NFT, exhaustive=False)
        with closing(mesh):
            yield campaign_on(mesh, implementation.features)


def shown(result: CampaignResult) -> CampaignResult:
    """Print a result with its rate. No test asserts the rate, which depends on the machine."""
    rate = result.flows / max(result.seconds, 0.001)
    print(f"{result}; {rate:.0f} judged flows a second")  # noqa: T201 - shown with -s
    return result


@pytest.mark.parametrize(("family", "policies"), [(4, 50), (6, 20)])
def test_reference_agrees(family: int, policies: int) -> None:
    """Catches: the fuzzer reports a false alarm, or the reference is wrong."""
    with campaign(Reference(), family) as tried:
        results = [
            shown(tried.search(policies=policies, seed=SEED, level=level))
            for level in (MUST, SHOULD)
        ]

    assert [result.disagreement for result in results] == [None, None]
    assert results[0].proved == results[0].different > 0
    assert results[0].flows > policies * 100


def test_current_fsm_fails_at_sixteen_ports() -> None:
    """Catches: the generator never makes a list of more than 15 ports."""
    today = InitCommand(f"sh {shlex.quote(str(TODAY))}", features=IPV4_ONLY)
    with campaign(today) as tried:
        found = shown(tried.search(policies=40, seed=SEED, level=MUST)).disagreement

    assert found is not None
    policy = found.configuration.policy()
    lists = {policy.outbound_port_exclusion_list, policy.inbound_port_exclusion_list}
    assert lists == {(), tuple(range(1, 17))}
    assert "too many ports" in found.seen


def test_same_seed_finds_the_same() -> None:
    """Catches: equal seeds find different disagreements."""
    results = []
    for _ in range(2):
        with campaign(Changed(policy=half_of_every_24)) as tried:
            results.append(shown(tried.search(policies=20, seed=SEED, level=MUST)))

    first, second = (result.disagreement for result in results)
    assert first is not None
    assert second is not None
    assert (first.configuration, first.probe) == (second.configuration, second.probe)
    assert results[0].pods == results[1].pods
    settings = {**first.configuration.annotations, **first.configuration.traffic}
    assert str(list(settings.values())).count("/24") == len(settings) == 1


def test_inclusion_before_exclusion_is_shrunk_to_one_entry_each() -> None:
    """Catches: a wrong order of rules, which only a policy with both lists shows, is missed."""
    with campaign(Changed(rules=inclusions_first)) as tried:
        found = shown(tried.search(policies=30, seed=SEED, level=SHOULD)).disagreement

    assert found is not None
    policy = found.configuration.policy()
    assert len(policy.outbound_ip_range_inclusion_list) == 1
    assert len(policy.outbound_ip_range_exclusion_list + policy.outbound_port_exclusion_list) == 1
