"""Rules that can be left out, with a proof over every packet."""

from __future__ import annotations

import pytest

from pytest_fsmredir.implementations.reference.rules import (
    Family,
    SidecarPorts,
    creation,
    rule_sets,
)
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.hygiene import AllPackets, idle_rules
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.redundant import redundant_rules
from tests.unit.test_rules_proof import FSM


def redundant(*rules: str, table: str = "nat") -> list[str]:
    text = "\n".join([f"*{table}", ":TO - [0:0]", *rules, "COMMIT", ""])
    packets = AllPackets.of(read_text(text), 4, Surroundings())
    return [rule.text for _, rule in redundant_rules(packets)]


CAPTURE = "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001"


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p udp -j RETURN",
        "-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15001",
        "-A OUTPUT -d 10.0.0.0/8 -p udp -j ACCEPT",
    ],
)
def test_rule_without_effect_is_redundant(rule: str) -> None:
    """Catches: a rule that changes no flow and is not reported."""
    assert rule in redundant(rule, CAPTURE)


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -d 10.1.2.3/32 -j RETURN",
        "-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15003",
        "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 53",
    ],
)
def test_rule_with_effect_is_not_redundant(rule: str) -> None:
    """Catches: advice to remove a rule that one address or one protocol needs."""
    assert redundant(rule, CAPTURE) == []


def test_one_of_two_equal_rules_can_go() -> None:
    """Catches: a duplicate that is not found because its twin hides it."""
    twin = "-A OUTPUT -d 10.1.2.3/32 -j RETURN"
    assert redundant(twin, twin, CAPTURE) == [twin]


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p tcp -j CONNMARK --set-xmark 0x1/0x1",
        "-A OUTPUT -p tcp -m bpf --object-pinned x -j RETURN",
    ],
)
def test_rule_whose_effect_lasts_or_is_unknown_is_not_judged(rule: str) -> None:
    """Catches: a mark of the connection, which later packets need, that counts as redundant."""
    assert redundant(rule, table="mangle") == []


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(outbound_port_exclusion_list=(6379,), inbound_port_exclusion_list=(22,)),
        Policy(outbound_port_exclusion_list=tuple(range(1, 100, 3))),
    ],
    ids=["plain", "ports", "many ports"],
)
def test_reference_has_no_rule_to_spare(policy: Policy, family: int) -> None:
    """Catches: a rule of the reference that no packet matches, or that changes no flow."""
    text = creation(rule_sets(policy, SidecarPorts(), Family(family)))
    rules = read_text(text, family)
    packets = AllPackets.of(rules, family, Surroundings())
    assert idle_rules(packets) == []
    assert redundant_rules(packets) == []


def test_dead_acceptance_of_todays_fsm_names_the_rule_before_it() -> None:
    """Catches: the acceptance of port 15000 behind a redirect, reported without the reason."""
    (idle,) = idle_rules(AllPackets.of(read_text(FSM), 4, Surroundings()))
    assert idle.rule.text == "-A FSM_TO_OUT -p tcp -m tcp --dport 15000 -j ACCEPT"
    assert idle.behind is not None
    assert (idle.rule.number, idle.behind.number) == (2, 1)
