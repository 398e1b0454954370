"""Proofs over every flow: of the reference, of planted faults and of FSM's own rules."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest

from pytest_fsmredir.implementations.reference.rules import (
    Family,
    SidecarPorts,
    creation,
    rule_sets,
)
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules import passage
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.hygiene import AllPackets, idle_rules
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.reading import read_text

LISTS = Policy(
    outbound_ip_range_exclusion_list=(ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")),
    outbound_ip_range_inclusion_list=(ip_network("10.1.0.0/16"), ip_network("0.0.0.0/1")),
    outbound_port_exclusion_list=(6379, 7070),
    inbound_port_exclusion_list=(22,),
    network_interface_exclusion_list=("net1",),
)
LONG = Policy(
    outbound_ip_range_exclusion_list=tuple(ip_network(f"10.{i}.7.0/24") for i in range(60)),
    outbound_port_exclusion_list=tuple(range(1, 400, 3)),
    inbound_port_exclusion_list=tuple(range(2, 400, 3)),
)


def reference(policy: Policy, family: int = 4) -> list[str]:
    return creation(rule_sets(policy, SidecarPorts(), Family(family))).splitlines()


def findings(lines: list[str], policy: Policy, family: int = 4) -> list[Finding]:
    prover = Prover(read_text("\n".join(lines), family), policy, family)
    proofs = [prover.prove(direction) for direction in Direction]
    return [f for proof in proofs for f in (*proof.findings, *proof.doubts)]


def deciders(found: list[Finding]) -> list[str]:
    return [f.decider.rule.text if f.decider else "" for f in found]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("policy", [Policy(), LISTS, LONG], ids=["plain", "lists", "long"])
def test_reference_is_proved(policy: Policy, family: int) -> None:
    """Catches: a difference that is an error of the model."""
    assert findings(reference(policy, family), policy, family) == []


def test_redirect_to_the_same_port_changes_nothing() -> None:
    """Catches: a connection that arrives where it was sent, of which the model says otherwise."""
    policy = replace(Policy(), inbound_port_exclusion_list=(8443,))
    same = "-A PREROUTING -p tcp -m tcp --dport 8443 -j REDIRECT --to-ports 8443"
    lines = reference(policy)
    nat = lines.index("*nat")
    first = next(n for n, line in enumerate(lines) if n > nat and line.startswith("-A PREROUTING"))
    assert findings([*lines[:first], same, *lines[first:]], policy) == []
    other = same.replace("--to-ports 8443", "--to-ports 8444")
    assert findings([*lines[:first], other, *lines[first:]], policy) != []


ROUTES = """\
0: from all lookup local
100: from all fwmark 0x53b lookup 133
32766: from all lookup main
default via 10.2.0.1 dev eth0
10.7.0.0/24 dev net1 proto kernel scope link src 10.7.0.9
local 10.2.0.9 dev eth0 table local
local 127.0.0.0/8 dev lo table local
broadcast 10.2.0.255 dev eth0 table local
local 10.7.0.9 dev net1 table local
local default dev lo table 133
"""


def test_table_that_only_marks_lead_to_is_not_for_others() -> None:
    """Catches: flows of a pod with TPROXY that the model sends where only marked packets go."""
    policy = replace(Policy(), network_interface_exclusion_list=("net1",))
    rules = read_text("\n".join([*reference(policy), ROUTES]))
    pod = Surroundings.of(rules, ["10.2.0.9"], closed=True)
    prover = Prover(rules, policy, 4, pod)
    found = [f for each in Direction for f in prover.prove(each).findings]
    assert [str(f.packet) for f in found if f.packet.mark != 0x53B] == []


def planted(chance: random.Random, family: int) -> tuple[str, str]:
    """Return (chain, conditions) of an exemption that the policy does not contain."""
    address = (
        f"11.{chance.randrange(256)}.2.3" if family == 4 else f"2001:db8::{chance.randrange(9999)}"
    )
    return chance.choice(
        [
            ("FSMREDIR_OUT", f"-d {address}"),
            ("FSMREDIR_OUT", f"-p tcp -m tcp --dport {chance.randrange(1, 15000)}"),
            ("FSMREDIR_OUT", f"-p tcp -m tcp --sport {chance.randrange(1, 65535)}"),
            ("FSMREDIR_OUT", f"-m owner --uid-owner {chance.choice([0, 1499, 1501, 99999])}"),
            ("FSMREDIR_OUT", f"-m owner --gid-owner {chance.randrange(2**31)}"),
            ("FSMREDIR_OUT", f"-m mark --mark {chance.getrandbits(32):#x}"),
            ("FSMREDIR_OUT", f"-m dscp --dscp {chance.randrange(1, 64):#x}"),
            ("FSMREDIR_OUT", "-p tcp -m ecn --ecn-tcp-ece"),
            ("FSMREDIR_OUT", f"-o eth{chance.randrange(1, 9)}"),
            ("FSMREDIR_IN", f"-s {address}"),
            ("FSMREDIR_IN", f"-p tcp -m tcp --dport {chance.randrange(1, 15000)}"),
            ("FSMREDIR_IN", f"-i eth{chance.randrange(1, 9)}"),
        ]
    )


def is_found(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seeded draw
    family = chance.choice([4, 6])
    lines = reference(Policy(), family)
    chain, conditions = planted(chance, family)
    fault = f"-A {chain} {conditions} -j {chance.choice(['RETURN', 'ACCEPT'])}"
    places = [i for i, line in enumerate(lines) if line.startswith(f"-A {chain} ")]
    lines.insert(chance.choice(places), fault)
    found = deciders(findings(lines, Policy(), family))
    # A rule about lo has no effect after the rule that accepts all traffic of lo.
    assert set(found) == {fault}, f"seed {seed}: {fault}"


@pytest.mark.parametrize("seed", range(16))
def test_planted_exemption_is_found(seed: int) -> None:
    """Catches: a proof that misses one flow in billions, or names another rule."""
    is_found(seed)


@pytest.mark.slow
def test_two_hundred_planted_exemptions_are_found() -> None:
    """Catches: a proof that misses a rare kind of exemption."""
    for seed in range(100, 300):
        is_found(seed)


FAULTS = {
    "nat": [
        "-A OUTPUT -p tcp -m owner --gid-owner 65532 -j RETURN",
        "-A OUTPUT -p tcp -m mark --mark 0x539 -j RETURN",
        "-A OUTPUT -p tcp -m mark --mark 0x4000/0x4000 -j RETURN",
        "-A OUTPUT -d 169.254.20.10/32 -j RETURN",
        "-A OUTPUT -d 168.63.129.16/32 -p tcp -j ACCEPT",
        "-A OUTPUT -d 169.254.0.0/16 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-A OUTPUT -p tcp -m ecn --ecn-tcp-cwr -j RETURN",
        "-A OUTPUT -p tcp -m dscp --dscp 0x08 -j RETURN",
        "-A OUTPUT -p tcp -m ttl --ttl-lt 64 -j RETURN",
        "-A OUTPUT -p tcp -m length --length 100:200 -j RETURN",
        "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053",
        "-A OUTPUT -p sctp -j DNAT --to-destination 127.0.0.1:1",
        "-A PREROUTING -s 100.64.0.0/10 -p tcp -j RETURN",
        "-A PREROUTING -p tcp -m tcp --dport 22 -j RETURN",
        "-A PREROUTING -i eth7 -j ACCEPT",
        "-A PREROUTING -p udp -m udp --dport 5353 -j REDIRECT --to-ports 5354",
        "-A POSTROUTING -d 9.9.9.9/32 -p tcp -j MASQUERADE",
    ],
    "filter": [
        "-A OUTPUT -p gre -j DROP",
        "-A OUTPUT -p icmp -m icmp --icmp-type 13 -j DROP",
        "-A INPUT -p udp -m udp --sport 68 -j DROP",
        "-A INPUT -p igmp -j REJECT",
        "-A OUTPUT -p tcp -m tcp --dport 25 -m owner --uid-owner 1500 -j DROP",
    ],
    "mangle": [
        "-A OUTPUT -p tcp -m owner --uid-owner 1500 -m tcp --dport 9 -j TTL --ttl-set 1",
        "-A OUTPUT -p udp -m udp --dport 9 -j DSCP --set-dscp 0x01",
        "-A OUTPUT -p esp -j TTL --ttl-set 7",
        "-A OUTPUT -p icmp -m icmp --icmp-type 8 -m length --length 1000: -j TOS --set-tos 0x10",
    ],
    "raw": [
        "-A OUTPUT -d 8.8.4.4/32 -p tcp -j CT --notrack",
        "-A PREROUTING -p tcp -m tcp --dport 7 -j CT --notrack",
    ],
}


def with_faults() -> list[str]:
    lines = reference(Policy())
    at = next(i for i, line in enumerate(lines) if line.startswith("-A PREROUTING"))
    lines[at:at] = FAULTS["nat"]
    for table in ("filter", "mangle", "raw"):
        lines += [f"*{table}", *FAULTS[table], "COMMIT"]
    return lines


def test_each_of_many_faults_is_named() -> None:
    """Catches: a fault that hides behind another one."""
    found = set(deciders(findings(with_faults(), Policy())))
    wanted = {fault for faults in FAULTS.values() for fault in faults}
    assert wanted - found == set()


FSM = """\
*nat
:FSM_IN - [0:0]
:FSM_TO_IN - [0:0]
:FSM_OUT - [0:0]
:FSM_TO_OUT - [0:0]
-A PREROUTING -p tcp -j FSM_IN
-A OUTPUT -p tcp -j FSM_OUT
-A FSM_IN -p tcp -m multiport --dports 15010,15901,15902,15903,15904 -j RETURN
-A FSM_IN -p tcp -j FSM_TO_IN
-A FSM_TO_IN -p tcp -j REDIRECT --to-ports 15003
-A FSM_OUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1500 -j FSM_TO_IN
-A FSM_OUT -o lo -m owner ! --uid-owner 1500 -j RETURN
-A FSM_OUT -m owner --uid-owner 1500 -j RETURN
-A FSM_OUT -d 127.0.0.1/32 -j RETURN
-A FSM_OUT -p tcp -m multiport --dports 9001,9002,9003 -j RETURN
-A FSM_OUT -j FSM_TO_OUT
-A FSM_TO_OUT -p tcp -j REDIRECT --to-ports 15001
-A FSM_TO_OUT -p tcp -m tcp --dport 15000 -j ACCEPT
COMMIT
"""


def test_todays_fsm_rules_are_proved() -> None:
    """Catches: a reading of the document that FSM's own rules violate."""
    ports = Policy(outbound_port_exclusion_list=(9001, 9002, 9003))
    assert findings(FSM.splitlines(), ports) == []


def test_missing_port_is_found() -> None:
    """Catches: a list that is only partly honoured."""
    ports = Policy(outbound_port_exclusion_list=(9001, 9002, 9003, 9016))
    (found,) = findings(FSM.splitlines(), ports)
    assert (found.duty.sentence, found.packet.port) == ("SPEC-10.1", 9016)


def test_unknown_condition_is_a_doubt() -> None:
    """Catches: a proof that assumes that an unknown condition holds, or that it does not."""
    lines = [line.replace("-p tcp -j FSM_OUT", "-p tcp -m bpf --object-pinned x -j FSM_OUT")
             for line in FSM.splitlines()]  # fmt: skip
    found = findings(lines, Policy(outbound_port_exclusion_list=(9001, 9002, 9003)))
    assert found
    assert all(f.depends == ("-m bpf --object-pinned x",) for f in found)
    assert {f.dependence for f in found} == {"-m bpf --object-pinned x (in OUTPUT)"}


def test_unknown_condition_without_effect_is_not_a_doubt() -> None:
    """Catches: a doubt about a condition that changes no flow."""
    lines = FSM.replace(
        "-A FSM_OUT -j FSM_TO_OUT", "-A FSM_OUT -m bpf --x y\n-A FSM_OUT -j FSM_TO_OUT"
    )
    assert not findings(lines.splitlines(), Policy(outbound_port_exclusion_list=(9001, 9002, 9003)))


def test_later_packets_are_compared() -> None:
    """Catches: a connection that is captured and whose later packets are dropped."""
    text = "*filter\n-A INPUT -p tcp -m conntrack --ctstate ESTABLISHED"
    text += " -m tcp --dport 15003 -j DROP\nCOMMIT"
    found = findings([*reference(Policy()), *text.splitlines()], Policy())
    assert {(f.later, f.end.kind.value) for f in found} == {(True, "dropped")}
    assert {f.answers for f in found} == {False, True}  # a client can have the port 15003


def test_doubling_chains_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a proof that never ends, because the number of jumps doubles with each chain."""
    monkeypatch.setattr(passage, "STEP_LIMIT", 1000)
    chains = [f"C{i}" for i in range(60)]
    lines = [f":{name} - [0:0]" for name in chains]
    for low, high in pairwise(chains):
        lines += [f"-A {low} -m bpf --x a -j {high}", f"-A {low} -p tcp -j {high}"]
    lines += [f"-A OUTPUT -j {chains[0]}", f"-A {chains[-1]} -p udp -j DROP"]
    rules = read_text("\n".join(["*nat", *lines, "COMMIT", ""]))
    with pytest.raises(TooComplexError):
        Prover(rules, Policy(), 4).prove(Direction.OUTBOUND)


def test_limit_names_the_rule_at_which_it_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a refusal of thousands of rules that does not say where they become too many."""
    monkeypatch.setattr(passage, "STEP_LIMIT", 20)
    exemptions = [
        f"-A OUT -d 10.0.0.{n}/32 -j {'ACCEPT' if n % 2 else 'RETURN'}" for n in range(30)
    ]
    lines = ["*nat", ":OUT - [0:0]", "-A OUTPUT -j OUT", *exemptions, "COMMIT", ""]
    with pytest.raises(
        TooComplexError, match=r"^line 23 \(-A OUT -d 10\.0\.0\.19/32 -j ACCEPT\): "
    ):
        Prover(read_text("\n".join(lines)), Policy(), 4).prove(Direction.OUTBOUND)


def idle(lines: list[str]) -> list[tuple[str, str]]:
    rules = read_text("\n".join(lines))
    return [(i.rule.text, i.why) for i in idle_rules(AllPackets.of(rules, 4, Surroundings()))]


def test_dead_rule_of_todays_fsm_is_explained() -> None:
    """Catches: a rule that looks like an exemption, behind one that matches every packet."""
    dead = "-A FSM_TO_OUT -p tcp -m tcp --dport 15000 -j ACCEPT"
    assert (dead, "line 17 matches all of its packets first") in idle(FSM.splitlines())


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("-A OUTPUT -p tcp -m udp -p udp -j DROP", "no packet meets its conditions in this chain"),
        ("-A ALONE -p tcp -j DROP", "no packet reaches the chain ALONE"),
        ("-A OUTPUT -i eth0 -j DROP", "no packet meets its conditions in this chain"),
    ],
)
def test_rule_that_never_acts_is_explained(rule: str, why: str) -> None:
    """Catches: a rule without effect that is not reported, or reported with a wrong reason."""
    text = f"*filter\n:ALONE - [0:0]\n{rule}\nCOMMIT"
    assert idle(text.splitlines()) == [(rule, why)]


def test_only_rules_of_the_other_direction_are_idle_in_the_reference() -> None:
    """Catches: a rule that matches some packet and is reported as unused."""
    assert idle(reference(LONG)) == []


@pytest.mark.parametrize(
    "route", ["unreachable 203.0.113.0/25", "local 203.0.113.0/25 dev lo table local"]
)
def test_route_that_takes_packets_away_is_found(route: str) -> None:
    """Catches: a range of remote addresses that a route keeps in the pod."""
    routes = [
        "0:\tfrom all lookup local",
        "32766:\tfrom all lookup main",
        "local 10.244.0.10 dev eth0 table local",
        "local 127.0.0.0/8 dev lo table local",
        "default via 10.244.0.1 dev eth0",
    ]
    assert findings([*reference(Policy()), *routes], Policy()) == []
    found = findings([*reference(Policy()), *routes, route], Policy())
    assert {ip_address(f.packet.destination) for f in found} == {ip_address("203.0.113.0")}


@pytest.mark.parametrize("device", ['"dev": "eth0", ', ""])
@pytest.mark.parametrize("hook", ["ingress", "egress"])
def test_drop_at_a_hook_of_an_interface_is_found(hook: str, device: str) -> None:
    """Catches: UDP that a table of the interface drops; nft 1.0.6 does not list the interface."""
    chain = (
        f'{{"chain": {{"family": "netdev", "table": "x", "name": "y", {device}"type": "filter",'
        f' "hook": "{hook}", "prio": 0, "policy": "accept"}}}}'
    )
    left = '{"payload": {"protocol": "udp", "field": "dport"}}'
    match = f'{{"match": {{"op": "==", "left": {left}, "right": 7777}}}}'
    rule = (
        '{"rule": {"family": "netdev", "table": "x", "chain": "y",'
        f' "expr": [{match}, {{"drop": null}}]}}}}'
    )
    lines = [*reference(Policy()), f'{{"nftables": [{chain}, {rule}]}}']
    rules = read_text("\n".join(lines))
    prover = Prover(rules, Policy(), 4)
    proofs = [prover.prove(direction) for direction in Direction]
    found = [f for proof in proofs for f in (proof.findings if device else proof.doubts)]
    assert {f.packet.port for f in found} == {7777}


def test_reverse_path_filter_is_modelled() -> None:
    """Catches: a setting of the kernel that drops what arrives at a second interface."""
    routes = """\
0: from all lookup local
32766: from all lookup main
default via 169.254.1.1 dev eth0
198.19.0.0/16 via 169.254.1.1 dev net1
local 10.244.0.10 dev eth0 table local
local 10.78.0.2 dev net1 table local
net.ipv4.conf.net1.rp_filter = 1"""
    rules = read_text("\n".join([*reference(Policy()), routes]))
    pod = Surroundings.of(rules, ("10.244.0.10",), closed=True)
    found = Prover(rules, Policy(), 4, pod).prove(Direction.INBOUND).findings
    assert {(f.packet.interface, f.end.detail) for f in found} == {
        ("net1", "the reverse path filter")
    }


@pytest.mark.parametrize(("ports", "found"), [("15003", set()), ("15002:15003", {15002})])
def test_exempt_listener_hides_no_other_port(ports: str, found: set[int]) -> None:
    """Catches: an exemption that counts as harmless because it begins at the listener's port."""
    lines = reference(Policy())
    at = lines.index("*nat") + 1
    while lines[at].startswith((":", "-N")):
        at += 1
    lines.insert(at, f"-I PREROUTING -p tcp -m tcp --dport {ports} -j ACCEPT")
    assert {f.packet.port for f in findings(lines, Policy())} == found


def test_first_of_two_routes_to_one_prefix_counts() -> None:
    """Catches: a fallback route that the kernel never uses, and that counts as a loss."""
    routes = [
        "0:\tfrom all lookup local",
        "32766:\tfrom all lookup main",
        "local 10.244.0.10 dev eth0 table local",
        "local 127.0.0.0/8 dev lo table local",
        "default via 10.244.0.1 dev eth0",
        "blackhole default metric 4096",
    ]
    assert findings([*reference(Policy()), *routes], Policy()) == []
