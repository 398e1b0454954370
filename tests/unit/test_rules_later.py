"""Proofs over later packets, answers and zones, over sets that packets fill, and over rewriting."""

from __future__ import annotations

import json

import pytest

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.ends import SOURCE_CHANGED
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.reading import read_text
from tests.unit.test_rules_proof import findings, reference

TABLE = {"family": "inet", "table": "t"}
PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
ADDRESS = {"payload": {"protocol": "ip", "field": "daddr"}}


def with_rule(table: str, *rules: str, family: int = 4) -> list[Finding]:
    """Compare the reference with some rules more."""
    lines = [*reference(Policy(), family), f"*{table}", *rules, "COMMIT"]
    return findings(lines, Policy(), family)


def natively(*rules: list[object], hook: str = "output", more: tuple[object, ...] = ()) -> str:
    """Return a JSON listing of one filter chain before the NAT of its hook."""
    chain = {"name": "c", "type": "filter", "hook": hook, "prio": -150, "policy": "accept"}
    every = [{"rule": {**TABLE, "chain": "c", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [*more, {"chain": {**TABLE, **chain}}, *every]})


def with_listing(listing: str) -> list[Finding]:
    """Compare the reference with a listing of nft more."""
    return findings([*reference(Policy()), listing], Policy())


def matching(left: object, right: object) -> object:
    """Return a match in JSON."""
    return {"match": {"op": "==", "left": left, "right": right}}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("rule", "answers", "words"),
    [
        (
            "-A OUTPUT -p tcp -m conntrack --ctdir REPLY -m tcp --dport 54321 -j DROP",
            {True},
            "its answers",
        ),
        (
            "-A INPUT -i eth0 -p tcp -m conntrack --ctdir REPLY -m tcp --sport 5432 -j REJECT",
            {True},
            "its answers",
        ),
        (
            "-A INPUT -p tcp -m conntrack --ctstate ESTABLISHED -m length --length 900:1000"
            " -j DROP",
            {False, True},
            "its later packets (length 900)",
        ),
        (
            "-A OUTPUT -p tcp -m tcp --dport 5432 --tcp-flags FIN,ACK FIN,ACK -j DROP",
            {False, True},
            "its later packets (tcp flags 0x11)",
        ),
    ],
)
def test_lost_packets_of_an_open_connection_are_found(
    rule: str, answers: set[bool], words: str, family: int
) -> None:
    """Catches: a proof about first packets whose connections do not work."""
    found = with_rule("filter", rule, family=family)
    assert {(f.later, f.decider.rule.text if f.decider else "") for f in found} == {(True, rule)}
    assert {f.answers for f in found} == answers
    assert words in [show.subsequent(f) for f in found]
    assert all(f.packet.tcp_flags == 2 for f in found)


def test_each_rule_that_loses_answers_is_named() -> None:
    """Catches: a rule that hides behind another one that loses the same kind of packets."""
    rules = [f"-A OUTPUT -p tcp -m tcp --sport 15003 --dport {n} -j DROP" for n in (501, 502, 503)]
    found = {f.decider.rule.text for f in with_rule("filter", *rules) if f.decider and f.later}
    assert found == set(rules)


@pytest.mark.parametrize("zone", ["--zone 7", "--zone-reply 7", "--zone-orig 7"])
def test_zone_is_a_doubt(zone: str) -> None:
    """Catches: a proof of connections whose answers belong to another zone."""
    found = with_rule("raw", f"-A OUTPUT -p tcp -m tcp --dport 5432 -j CT {zone}")
    assert found
    assert all(5432 in {f.packet.port, f.packet.source_port} for f in found)
    assert all(f.depends for f in found)


def test_zone_of_nft_is_a_doubt() -> None:
    """Catches: a zone that counts as a harmless change of the packet."""
    zone = {"mangle": {"key": {"ct": {"key": "zone"}}, "value": 7}}
    found = with_listing(natively([matching(PORT, 5432), zone]))
    assert found
    assert all(f.depends for f in found)


@pytest.mark.parametrize("flags", [[], ["dynamic"]])
def test_set_that_packets_fill_is_a_doubt(flags: list[str]) -> None:
    """Catches: an empty set that counts as empty for ever; nft 1.0.6 lists no flag "dynamic"."""
    made = {"set": {**TABLE, "name": "seen", "type": "ipv4_addr", "handle": 1, "flags": flags}}
    add = {"set": {"op": "add", "elem": ADDRESS, "set": "@seen"}}
    listing = natively([matching(ADDRESS, "@seen"), {"drop": None}], [add], more=(made,))
    found = with_listing(listing)
    assert found
    assert all("@seen" in f.depends[0] for f in found)


def test_limit_in_a_set_is_a_condition() -> None:
    """Catches: a rule with a limit for each address that counts as one without a condition."""
    made = {"set": {**TABLE, "name": "rates", "type": "ipv4_addr", "handle": 1}}
    limit = {"limit": {"rate": 2, "burst": 2, "per": "minute", "inv": True}}
    update = {"set": {"op": "update", "elem": ADDRESS, "set": "@rates", "stmt": [limit]}}
    found = with_listing(natively([update, {"drop": None}], more=(made,)))
    assert found
    assert all("limit" in f.depends[0] for f in found)


def test_rewritten_port_is_a_doubt() -> None:
    """Catches: a captured connection whose original destination is another one."""
    rewrite = {"mangle": {"key": PORT, "value": 5432}}
    other = matching(ADDRESS, "203.0.113.9")
    found = with_listing(natively([other, matching(PORT, 5433), rewrite]))
    assert found
    assert all(5433 in {f.packet.port, f.packet.source_port} for f in found)
    assert all(f.depends for f in found)


def test_marks_with_a_prefix_are_read() -> None:
    """Catches: a range of marks that nft writes as a prefix, and that is not understood."""
    spans = {"set": [17, {"prefix": {"addr": 0x2200, "len": 24}}]}
    found = with_listing(natively([matching({"meta": {"key": "mark"}}, spans), {"drop": None}]))
    assert {f.packet.mark for f in found} <= {17, *range(0x2200, 0x2300)}
    assert not any(f.depends for f in found)


def test_every_other_value_of_a_verdict_map_is_read() -> None:
    """Catches: the wildcard of a verdict map, which makes all rules unreadable."""
    rows = [[443, {"continue": None}], [80, {"accept": None}], ["*", {"drop": None}]]
    udp = {"payload": {"protocol": "udp", "field": "dport"}}
    found = with_listing(natively([{"vmap": {"key": udp, "data": {"set": rows}}}]))
    assert {f.packet.protocol for f in found} == {17}
    assert not {f.packet.port for f in found} & {80, 443}


def test_copy_between_fields_of_two_sizes_is_a_doubt() -> None:
    """Catches: a copy of 16 bits into 32 bits that ends the run with an error."""
    copy = {"mangle": {"key": {"ct": {"key": "mark"}}, "value": {"meta": {"key": "length"}}}}
    assert all(f.depends for f in with_listing(natively([copy])))


def test_client_that_the_sidecar_cannot_see_is_found() -> None:
    """Catches: a captured connection that shows the sidecar another client."""
    rule = "-A INPUT -p tcp -m tcp --sport 20000 --dport 15003 -j SNAT --to-source :20001"
    lines = reference(Policy())
    at = next(n for n, line in enumerate(lines) if line.startswith("-A PREROUTING"))
    found = findings([*lines[:at], rule, *lines[at:]], Policy())
    seen = {(f.duty.sentence, f.end.detail, f.packet.source_port) for f in found}
    assert ("SPEC-2.3", SOURCE_CHANGED, 20000) in seen


def test_redirection_goes_to_the_address_of_the_interface() -> None:
    """Catches: a model that sends what comes by the second interface to the first one."""
    pod = Surroundings({"eth0": ("10.77.0.1",), "net1": ("10.78.0.1",)}, closed=True)
    lines = reference(Policy(inbound_port_exclusion_list=(22,)))
    at = next(n for n, line in enumerate(lines) if line.startswith("-A PREROUTING"))
    same = "-A PREROUTING -p tcp -m tcp --dport 22 -j REDIRECT --to-ports 22"
    rules = read_text("\n".join([*lines[:at], same, *lines[at:]]))
    prover = Prover(rules, Policy(inbound_port_exclusion_list=(22,)), 4, pod)
    addresses = {"eth0": 0x0A4D0001, "net1": 0x0A4E0001}
    found = prover.prove(Direction.INBOUND).findings
    assert all(addresses[f.packet.interface] != f.packet.destination for f in found)


@pytest.mark.parametrize("selectors", ["ipproto tcp dport 5432", "sport 5000-5010"])
def test_routing_rule_for_ports_is_understood(selectors: str) -> None:
    """Catches: connections to one port that a routing rule refuses, which are only a doubt."""
    routes = [
        "0:\tfrom all lookup local",
        f"100:\tfrom all {selectors} prohibit",
        "32766:\tfrom all lookup main",
        "local 10.244.0.10 dev eth0 table local",
        "local 127.0.0.0/8 dev lo table local",
        "default via 10.244.0.1 dev eth0",
    ]
    found = findings([*reference(Policy()), *routes], Policy())
    assert found
    assert not any(f.depends for f in found)
    outbound = [f.packet for f in found if not f.later]
    ports = {p.port if "dport" in selectors else p.source_port for p in outbound}
    assert ports <= ({5432} if "dport" in selectors else set(range(5000, 5011)))


def test_tcp_to_a_broadcast_address_does_not_count() -> None:
    """Catches: a doubt about connections that the kernel refuses to open."""
    routes = [
        "0:\tfrom all lookup local",
        "100:\tfrom all fwmark 0x6600 lookup 166",
        "32766:\tfrom all lookup main",
        "local 10.244.0.10 dev eth0 table local",
        "broadcast 10.244.0.255 dev eth0 table local",
        "local 127.0.0.0/8 dev lo table local",
        "default via 10.244.0.1 dev eth0",
        "default via 10.244.0.1 dev eth0 table 166",
    ]
    text = "\n".join([*reference(Policy()), *routes])
    rules = read_text(text)
    prover = Prover(rules, Policy(), 4, Surroundings.of(rules, closed=True))
    assert prover.prove(Direction.OUTBOUND).proved


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK -d 198.51.100.0/24 -j DROP",
        "-A INPUT -i eth0 -p tcp -m tcp --sport 7000 --tcp-flags SYN,ACK SYN,ACK -j DROP",
    ],
)
def test_lost_answer_to_the_first_packet_is_found(rule: str) -> None:
    """Catches: a connection whose first packet arrives, and which never opens."""
    found = with_rule("filter", rule)
    assert {(f.answers, f.decider.rule.text if f.decider else "") for f in found} == {(True, rule)}


@pytest.mark.parametrize(
    "flags", ["SYN,FIN SYN,FIN", "SYN,RST SYN,RST", "FIN,RST FIN,RST", "ALL NONE"]
)
def test_packets_that_no_kernel_sends_do_not_count(flags: str) -> None:
    """Catches: a rule against malformed packets that counts as one that loses answers."""
    assert not [
        f
        for f in with_rule("filter", f"-A INPUT -p tcp -m tcp --tcp-flags {flags} -j DROP")
        if f.later
    ]


def test_listener_of_tproxy_on_another_address_is_a_doubt() -> None:
    """Catches: a packet for an address that nobody has, which counts as captured."""
    rule = "-A PREROUTING -i eth0 -p tcp -m tcp --dport 5432 -j TPROXY --on-port 15003"
    assert not with_rule("mangle", f"{rule} --on-ip 127.0.0.1")
    assert all(f.depends for f in with_rule("mangle", f"{rule} --on-ip 10.9.9.9"))
    assert with_rule("mangle", f"{rule} --on-ip 10.9.9.9")


@pytest.mark.parametrize(
    ("made", "member"),
    [
        ("bitmap:ip range 203.0.0.0-203.0.255.255 netmask 24", "203.0.113.0"),
        ("hash:ip family inet hashsize 1024 maxelem 65536 netmask 24", "203.0.113.0"),
        ("hash:net,iface family inet", "203.0.113.0/24,et wildcard"),
    ],
)
def test_member_of_a_set_that_stands_for_more_is_not_read_as_itself(made: str, member: str) -> None:
    """Catches: an exemption of a network that counts as one of its first address."""
    sets = [f"create s {made}", f"add s {member}"]
    match = "dst,dst" if "iface" in made else "dst"
    rule = f"-A OUTPUT -p tcp -m set --match-set s {match} -j RETURN"
    lines = reference(Policy())
    at = next(n for n, line in enumerate(lines) if line.startswith("-A PREROUTING"))
    found = findings([*sets, *lines[:at], rule, *lines[at:]], Policy())
    assert found
    assert all(f.depends or f.packet.interface.startswith("et") for f in found)


@pytest.mark.parametrize(("length", "lost"), [(0, True), (-1, False)])
def test_routing_rule_can_ignore_short_prefixes(length: int, lost: bool) -> None:
    """Catches: a default route that counts although a routing rule suppresses it."""
    suppressed = f" suppress_prefixlength {length}" if length >= 0 else ""
    routes = [
        "0:\tfrom all lookup local",
        f"90:\tfrom all fwmark 0x99 lookup main{suppressed}",
        "91:\tfrom all fwmark 0x99 unreachable",
        "32766:\tfrom all lookup main",
        "local 10.244.0.10 dev eth0 table local",
        "local 127.0.0.0/8 dev lo table local",
        "default via 10.244.0.1 dev eth0",
        "10.244.0.0/16 dev eth0",
    ]
    found = findings([*reference(Policy()), *routes], Policy())
    assert {f.packet.mark for f in found} == ({0x99} if lost else set())
    assert not any(f.packet.destination >> 16 == 0x0AF4 for f in found)
