"""The mutants as data: their number, their descriptions, and that each changes something."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import ip_network
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import Completed, Refused, Target
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.policy import Policy
from tests.mutants.collected import MUTANTS
from tests.mutants.correct import Case, correct
from tests.mutants.loading import Plan, install, one_by_one
from tests.mutants.mutant import Mutant, same_text
from tests.mutants.rules import creation, removal, renewal

OWN = {4: ("10.77.0.1", "10.79.0.1"), 6: ("fd77:1::1", "fd77:3::1")}

_OUTBOUND = "flomesh.io/outbound-port-exclusion-list"
_INBOUND = "flomesh.io/inbound-port-exclusion-list"
_EXCLUDED = "flomesh.io/outbound-ip-range-exclusion-list"
_INCLUDED = "flomesh.io/outbound-ip-range-inclusion-list"

FIFTEEN = ",".join(map(str, range(5001, 5016)))
SIXTEEN = f"{FIFTEEN},5016"
THOUSANDS = ",".join(map(str, range(5001, 10001)))
WIDE = ",".join(f"3.{n >> 8}.{n & 255}.0/24" for n in range(5000))
MANY = ",".join(map(str, range(5001, 5151)))
RANGES = ",".join(
    [
        *(f"2.{n}.2.0/24,2001:db8:{n:x}::/64" for n in range(40)),
        *(
            "2.0.1.0/24",
            "8.0.0.0/8",
            "2001:db8::/96",
            "10.244.0.0/16",
            "8.0.0.0/7",
            "2.2.0.0/16",
            "1.1.1.1/32",
            "2001:db8::1/128",
        ),
    ]
)
SET_APART = (
    "240.0.0.0/4,100.64.0.0/10,169.254.169.254/32,192.168.0.0/16,fd00::/8,64:ff9b::/96,"
    "128.0.0.0/2,"
    "10.77.0.0/24,fd77:1::/64"
)
EVERY_LIST = {_OUTBOUND: MANY, _INBOUND: MANY, _EXCLUDED: RANGES, _INCLUDED: RANGES}
PODS = {_OUTBOUND: "6379", _INBOUND: "7070", _EXCLUDED: "1.1.1.1/32", _INCLUDED: "2.2.2.2/32"}
ONE: dict[str, object] = {
    "outboundPortExclusionList": 6379,
    "inboundPortExclusionList": 7070,
    "outboundIPRangeExclusionList": "1.1.1.1/32",
    "outboundIPRangeInclusionList": "2.2.2.2/32",
}
MESH: dict[str, list[object]] = {
    "outboundPortExclusionList": list(range(5001, 5011)),
    "inboundPortExclusionList": list(range(5001, 5011)),
    "outboundIPRangeExclusionList": [f"3.{n}.0.0/16" for n in range(10)],
    "outboundIPRangeInclusionList": [f"4.{n}.0.0/16" for n in range(10)],
}
CONFIGURATIONS = (
    Configuration(),
    Configuration({_OUTBOUND: "1,6379,40000,65535", _INBOUND: "1,7070,8080,40000,65535"}),
    Configuration({_OUTBOUND: "6379,7070,7072", _INBOUND: "6379,7070,7072"}),
    Configuration({_OUTBOUND: MANY, _INBOUND: MANY}),
    Configuration({_OUTBOUND: SIXTEEN, _INBOUND: SIXTEEN}),
    Configuration({_OUTBOUND: FIFTEEN, _INBOUND: FIFTEEN}),
    Configuration({_EXCLUDED: RANGES}),
    Configuration({_EXCLUDED: "0.0.0.0/0,::/0"}),
    Configuration({_INCLUDED: RANGES, _INBOUND: "7070"}),
    Configuration({_INCLUDED: "0.0.0.0/0,::/0"}),
    Configuration({_INCLUDED: RANGES, _EXCLUDED: RANGES, _OUTBOUND: "6379,7070"}),
    Configuration({_EXCLUDED: "2.2.2.2/24,2001:db8::2/64"}),
    Configuration({_OUTBOUND: "6379, 7070"}),
    Configuration({_OUTBOUND: "6379,6379", _EXCLUDED: "1.1.1.1/32,1.1.1.1/32"}),
    Configuration({_OUTBOUND: "6379,70000"}),
    Configuration({_OUTBOUND: "6379,0"}),
    Configuration({_OUTBOUND: "6379,"}),
    Configuration({_OUTBOUND: "80-90"}),
    Configuration({_OUTBOUND: "6379,,7070"}),
    Configuration({_OUTBOUND: "0443"}),
    Configuration({_OUTBOUND: "70000,6379"}),
    Configuration({_EXCLUDED: "10.0.0.0,10.0.0.0/33"}),
    Configuration({_EXCLUDED: "10.0.0.1"}),
    Configuration({_EXCLUDED: "10.2.3/24"}),
    Configuration({_EXCLUDED: "1.2.3.0/255.255.255.0"}),
    Configuration({_EXCLUDED: "1.2.030.0/24"}),
    Configuration({_EXCLUDED: "0.0.0.0/0,10.0.0.0/8"}),
    Configuration({}, {"outboundPortExclusionList": [6379, 70000]}),
    Configuration({}, {"outboundIPRangeExclusionList": ["10.0.0.0/8", "10.0.0.0/33"]}),
    Configuration({_INBOUND: "15000,15001,15003", _OUTBOUND: "15003,15904"}),
    Configuration({_EXCLUDED: "10.0.0.0/8,"}),
    Configuration({_EXCLUDED: "!10.0.0.0/8"}),
    *(Configuration({name: ",".join([item] * 2)}) for name, item in PODS.items()),
    *(Configuration({name: ",".join([item] * 3)}) for name, item in PODS.items()),
    *(Configuration({}, {key: [item, item]}) for key, item in ONE.items()),
    Configuration({_EXCLUDED: "2001:db8:0:0:0:0:0:1/128"}),
    Configuration({_EXCLUDED: "2001:DB8::/32"}),
    Configuration({_EXCLUDED: "1.1.1.1/32,1.1.1.2/32"}),
    Configuration({_INCLUDED: "1.1.1.1/32,1.1.1.2/32"}),
    Configuration({_EXCLUDED: "fd00::/8,0.0.0.0/0"}),
    Configuration({_EXCLUDED: "10.77.0.0/24,fd77:1::/64"}),
    Configuration({_INCLUDED: "0.0.0.0/0, 10.0.0.0/8"}),
    Configuration({_INCLUDED: "1.1.1.1/32"}, {"outboundIPRangeInclusionList": ["1.1.1.1/32"]}),
    Configuration({}, {"networkInterfaceExclusionList": ["net1"]}),
    Configuration(EVERY_LIST, {"networkInterfaceExclusionList": ["net1"]}),
    Configuration(EVERY_LIST),
    Configuration({_EXCLUDED: SET_APART}),
    Configuration({_INCLUDED: SET_APART}),
    Configuration({_OUTBOUND: "53", _INBOUND: "53"}),
    Configuration({_OUTBOUND: "80,90", _INBOUND: "80,90"}),
    *(Configuration({_OUTBOUND: text}) for text in ("80\n90", "80;90", "[80,90]")),
    *(Configuration({_OUTBOUND: text}) for text in ("80x", "4294967376")),
    *(Configuration({_EXCLUDED: text}) for text in ("10.0.0.0/8/9", "10.0.0.0/-8")),
    Configuration({}, {"networkInterfaceExclusionList": ["a-name-of-over-15-bytes"]}),
    Configuration({_OUTBOUND: "6379,7070"}, {"outboundPortExclusionList": [7070, 9090]}),
    Configuration({_INBOUND: "6379,7070"}, {"inboundPortExclusionList": [7070, 9090]}),
    Configuration({_EXCLUDED: "1.1.1.1/32"}, {"outboundIPRangeExclusionList": ["3.3.3.3/32"]}),
    Configuration({_EXCLUDED: "1.1.1.1/32"}, {"outboundIPRangeExclusionList": ["1.1.1.1/32"]}),
    Configuration({_INCLUDED: "1.1.1.1/32"}, {"outboundIPRangeInclusionList": ["3.3.3.3/32"]}),
    *(Configuration({name: value}, MESH) for name, value in PODS.items()),
    *(Configuration({name: ""}, MESH) for name in PODS),
    Configuration({_OUTBOUND: THOUSANDS, _INBOUND: THOUSANDS, _EXCLUDED: WIDE, _INCLUDED: WIDE}),
)


def _loaded(mutant: Mutant, configuration: Configuration, family: int) -> str:
    """Return the rules that a mutant loads into a fresh pod, or its reason to refuse."""
    try:
        policy = mutant.read(configuration, CONFIGURATIONS[1:2])
        plan = mutant.rules_for(Case(policy, family, OWN[family]))
    except (ConfigurationError, Refused):
        return "refused"
    return plan.creation if family in mutant.families else ""


@cache
def _loaded_rightly(index: int, family: int) -> str:
    return _loaded(Mutant(name="", what="", source=""), CONFIGURATIONS[index], family)


def _changes_something(mutant: Mutant) -> bool:
    return mutant.load is not install or any(
        _loaded(mutant, configuration, family) != _loaded_rightly(index, family)
        for index, configuration in enumerate(CONFIGURATIONS)
        for family in OWN
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_described_and_changes_something(mutant: Mutant) -> None:
    """Catches: a mutant without any change, which survives every suite."""
    assert mutant.what
    assert mutant.source
    assert "\n" not in mutant.what + mutant.source
    assert _changes_something(mutant) or mutant.name == "same-unchanged"


def test_correct_rules_hold_every_port_of_a_long_list() -> None:
    """Catches: f01: iptables refuses 16 ports in one multiport match."""
    policy = Policy(outbound_port_exclusion_list=tuple(range(1, 47)))
    lists = [
        rule.match.rpartition(" ")[2].split(",")
        for rule in correct(Case(policy, 4, OWN[4]))
        if rule.tag == "excluded outbound ports"
    ]
    assert [int(port) for listed in lists for port in listed] == list(range(1, 47))
    assert max(map(len, lists)) == 15


def test_correct_rules_put_each_range_into_its_family() -> None:
    """Catches: b32: an IPv6 range in an IPv4 restore, which makes all of it fail."""
    ranges = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    policy = Policy(outbound_ip_range_exclusion_list=ranges)
    for family, network in zip((4, 6), ranges, strict=True):
        rules = correct(Case(policy, family, OWN[family]))
        assert [r.match for r in rules if r.tag == "an excluded range"] == [f"-d {network}"]


def test_renewal_neither_makes_chains_nor_touches_the_hooks() -> None:
    """Catches: b19: a second run that adds its jumps again."""
    rules = correct(Case(Policy(), 4, OWN[4]))
    assert "-N MESH_IN\n" in creation(rules)
    assert "-N" not in renewal(rules)
    assert "PREROUTING" not in renewal(rules)


def test_removal_removes_all_that_creation_added() -> None:
    """Catches: b50: an uninstall that leaves its jumps behind."""
    rules = correct(Case(Policy(), 4, OWN[4]))
    added, removed = creation(rules).splitlines(), removal(rules).splitlines()
    hooks = [line for line in added if line.startswith(("-A PREROUTING", "-A OUTPUT"))]
    chains = [line for line in added if line.startswith("-N")]
    assert {f"-D{hook[2:]}" for hook in hooks} <= set(removed)
    assert {f"-X{chain[2:]}" for chain in chains} <= set(removed)


def test_plan_edits_what_is_loaded() -> None:
    rules = correct(Case(Policy(), 4, OWN[4]))
    assert Plan(4, rules, str.lower).creation == Plan(4, rules, same_text).creation.lower()


def test_rules_that_are_loaded_one_by_one_go_into_their_own_tables() -> None:
    """Catches: a mutant that no pod accepts, because a rule of ``mangle`` is added to ``nat``."""
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], stdin: str = "") -> Completed:
        ran.append(argv)
        return Completed(0, stdin, "")

    plan = Plan(4, correct(Case(Policy(), 4, ("10.77.0.2",))), str)
    one_by_one(cast("Target", SimpleNamespace(run=run)), [plan])

    tables = {argv[4]: [each for each in ran if each[4] == argv[4]] for argv in ran}
    assert set(tables) == {"nat", "mangle"}
    assert all("DROP" not in argv for argv in tables["nat"])
