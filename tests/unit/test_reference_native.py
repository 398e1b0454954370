"""The nft rules of the reference, as text."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused
from pytest_fsmredir.implementations.reference.command import main
from pytest_fsmredir.implementations.reference.native import TABLE, transaction
from pytest_fsmredir.implementations.reference.programming import apply, remove
from pytest_fsmredir.implementations.reference.rules import Family, SidecarPorts
from pytest_fsmredir.model.policy import Policy


def rules(policy: Policy, chain: str, families: Sequence[Family] = tuple(Family)) -> list[str]:
    prefix = f"add rule {TABLE} {chain} "
    lines = transaction(policy, SidecarPorts(), families).splitlines()
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]


def test_outbound_order_is_that_of_the_iptables_rules() -> None:
    """Catches: an order in which a list makes a loop, or an inclusion overrides an exclusion."""
    policy = Policy(
        outbound_ip_range_exclusion_list=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")),
        outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/8"),),
        outbound_port_exclusion_list=(6379,),
        network_interface_exclusion_list=("eth1",),
    )
    assert rules(policy, "outbound") == [
        "ip daddr 127.0.0.0/8 return",
        "ip6 daddr ::1/128 return",
        'oifname "lo" meta skuid 1500 meta l4proto tcp redirect to :15003',
        'oifname "lo" return',
        "meta skuid 1500 return",
        'oifname { "eth1" } return',
        "ip daddr { 10.1.0.0/16 } return",
        "ip6 daddr { fd00::/8 } return",
        "tcp dport { 6379 } return",
        "ip daddr { 10.0.0.0/8 } meta l4proto tcp redirect to :15001",
    ]


@pytest.mark.parametrize("chain", ["inbound", "stray"])
def test_inbound_exceptions_are_neither_captured_nor_dropped(chain: str) -> None:
    """Catches: an exception that is missing in one of the two chains."""
    policy = Policy(inbound_port_exclusion_list=(6379,), network_interface_exclusion_list=("eth1",))
    left_alone = [
        'iifname { "eth1" } return',
        "tcp dport { 6379, 15010, 15901, 15902, 15903, 15904 } return",
    ]
    found = rules(policy, chain)
    assert [rule for rule in found if rule in left_alone] == left_alone
    assert "return" not in found[-1]


def test_overlapping_ranges_become_one() -> None:
    """Catches: a set that nft refuses because its intervals overlap, or an item that is lost."""
    ranges = ("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8", "192.0.2.1/32")
    policy = Policy(outbound_ip_range_exclusion_list=tuple(map(ip_network, ranges)))
    assert "ip daddr { 10.0.0.0/7, 192.0.2.1/32 } return" in rules(policy, "outbound")


def test_family_without_pod_address_is_not_captured() -> None:
    """Catches: link-local IPv6 of an IPv4 pod sent to a listener that does not exist."""
    for chain in ("inbound", "outbound"):
        assert rules(Policy(), chain, [Family.IPV4])[0] == "meta nfproto ipv6 return"
    assert "meta nfproto ipv6 return" in rules(Policy(), "stray", [Family.IPV4])
    assert not [rule for rule in rules(Policy(), "outbound") if "nfproto" in rule]


class Recorder:
    """Replaces nft: records the calls, and fails on request."""

    def __init__(self, status: int = 0) -> None:
        self.ran: list[tuple[Sequence[str], str]] = []
        self.status = status

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Completed:
        self.ran.append((argv, stdin))
        return Completed(self.status, "", "no such hook")


def test_one_program_sets_both_families() -> None:
    """Catches: a half-programmed pod, or a program that the machine does not have."""
    run = Recorder()
    apply(Policy(), SidecarPorts(), tuple(Family), run, IptablesVariant.NATIVE)
    remove(tuple(Family), run, IptablesVariant.NATIVE)
    assert [argv for argv, _ in run.ran] == [["nft", "-f", "-"]] * 2


def test_failure_of_nft_is_a_refusal_with_its_message() -> None:
    """Catches: a pod that counts as programmed although nft failed."""
    with pytest.raises(Refused, match="nft exited 1: no such hook"):
        apply(Policy(), SidecarPorts(), tuple(Family), Recorder(1), IptablesVariant.NATIVE)


@pytest.mark.parametrize("name", ["eth*", "*", "eth+"])
def test_interface_name_with_a_wildcard_is_refused(name: str) -> None:
    """Catches: a name that nft reads as a wildcard."""
    run = Recorder()
    policy = Policy(network_interface_exclusion_list=(name,))
    with pytest.raises(Refused, match="can't be written in a rule"):
        apply(policy, SidecarPorts(), tuple(Family), run, IptablesVariant.NATIVE)
    assert run.ran == []


def test_print_shows_the_rules_of_the_variant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: iptables rules printed for a pod that has none."""
    monkeypatch.setenv("FSM_IPTABLES", "native")
    assert main(["print"]) == 0
    assert capsys.readouterr().out.startswith(f"# nft -f -\nadd table {TABLE}\n")
