"""Read listings of rules into the neutral form."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest

from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.forms import (
    Chain,
    Destination,
    Drop,
    Field,
    Hook,
    Jump,
    Not,
    Number,
    Opaque,
    Redirect,
    Tproxy,
    Unknown,
    Write,
)
from pytest_fsmredir.rules.packet import unseen
from pytest_fsmredir.rules.reading import read_text, saved_listings
from pytest_fsmredir.rules.ruleset import RuleSet, parts


def nat(*lines: str) -> str:
    return "\n".join(["*nat", ":PREROUTING ACCEPT [0:0]", *lines, "COMMIT", ""])


def chain(rules: RuleSet, name: str, table: str = "nat") -> Chain:
    return next(c for c in rules.chains.values() if c.name == name and c.table == table)


def nft(*items: object) -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, *items]}, indent=1)


def base(name: str, hook: str, kind: str = "nat", prio: int = -100) -> object:
    return {
        "chain": {
            "family": "inet", "table": "t", "name": name, "hook": hook, "type": kind, "prio": prio,
            "policy": "accept",
        }
    }  # fmt: skip


def rule(in_chain: str, *expressions: object) -> object:
    return {"rule": {"family": "inet", "table": "t", "chain": in_chain, "expr": list(expressions)}}


def conditions_of(text: str) -> list[object]:
    (made,) = chain(read_text(nat(text)), "OUTPUT").rules
    return [condition.test for condition in made.conditions]


def test_rule_keeps_its_line_and_counter() -> None:
    """Catches: a finding that names a wrong line of the file."""
    made = chain(read_text(nat("[7:420] -A OUTPUT -p tcp -j RETURN")), "OUTPUT").rules[0]
    assert (made.line, made.packets, made.number) == (3, 7, 1)


@pytest.mark.parametrize(
    ("words", "name", "values", "mask"),
    [
        ("-p tcp", Field.PROTOCOL, ((6, 6),), None),
        ("-p gre", Field.PROTOCOL, ((47, 47),), None),
        ("-d 10.0.0.0/8", Field.DESTINATION, ((0x0A000000, 0x0AFFFFFF),), None),
        ("-d 10.0.0.1/255.0.0.255", Field.DESTINATION, ((0x0A000001,) * 2,), 0xFF0000FF),
        ("-m multiport --dports 80,443,1000:2000", Field.PORT,
         ((80, 80), (443, 443), (1000, 2000)), None),
        ("-m mark --mark 0x1/0xf", Field.MARK, ((1, 1),), 15),
        ("-m ttl --ttl-lt 5", Field.TTL, ((0, 4),), None),
        ("-m dscp --dscp 0x03", Field.TOS, ((12, 12),), 0xFC),
        ("-m length --length 40:60", Field.LENGTH, ((40, 60),), None),
        ("-m iprange --dst-range 10.0.0.1-10.0.0.9", Field.DESTINATION,
         ((0x0A000001, 0x0A000009),), None),
        ("-f", Field.FRAGMENT, ((1, 1),), None),
    ],
)  # fmt: skip
def test_condition_is_read(
    words: str, name: Field, values: tuple[tuple[int, int], ...], mask: int | None
) -> None:
    """Catches: a condition that is read as one about other packets."""
    assert conditions_of(f"-A OUTPUT {words} -j RETURN") == [Number(name, values, mask)]


@pytest.mark.parametrize(
    ("words", "varies"),
    [
        ('-p tcp -m string --string "foo bar" --algo bm', False),
        ("-m limit --limit 3/sec", True),
        ("-m statistic --mode random --probability 0.5", True),
        ("-m newmatch ! --some 5 6 --other", False),
    ],
)
def test_unknown_match_is_free(words: str, *, varies: bool) -> None:
    """Catches: an unknown match that counts as true, or as false."""
    unknown = [test for test in conditions_of(f"-A OUTPUT {words} -j RETURN") if _is_unknown(test)]
    assert [test.varies for test in unknown if isinstance(test, Unknown)] == [varies]


@pytest.mark.parametrize(("option", "of_first"), [("", False), ("--transparent", True)])
def test_socket_match_is_unknown_unless_transparent(option: str, *, of_first: bool) -> None:
    """Catches: a proof for a pod whose listeners on one address escape the sidecar."""
    tests = conditions_of(f"-A OUTPUT -p tcp -m socket {option} -j RETURN")
    assert any(isinstance(test, Unknown) and test.what == "-m socket" for test in tests)
    assert any(isinstance(test, Not) for test in tests) is of_first


def _is_unknown(test: object) -> bool:
    return isinstance(test, Unknown)


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("REDIRECT --to-ports 15001", Redirect(15001)),
        ("DNAT --to-destination 1.2.3.4:80", Destination(0x01020304, 80)),
        ("DNAT --to-destination :80", Destination(None, 80)),
        ("MARK --set-xmark 0x1/0xff", Write(Field.MARK, 1, 0xFF)),
        ("MARK --set-mark 0x3/0x1", Write(Field.MARK, 3, 3)),
        ("DROP", Drop()),
        ("TPROXY --on-port 15003 --on-ip 0.0.0.0", Tproxy(15003, ends=True)),
        ("NEWTARGET --option 5", Opaque("-j NEWTARGET")),
    ],
)
def test_target_is_read(words: str, action: object) -> None:
    """Catches: a target that is read as another one, or guessed."""
    (made,) = chain(read_text(nat(f"-A OUTPUT -p tcp -j {words}")), "OUTPUT").rules
    assert made.actions == (action,)


def test_jump_leads_to_a_declared_chain() -> None:
    """Catches: a chain that has the name of a target."""
    undeclared = read_text(nat("-A OUTPUT -j LATER"))
    assert chain(undeclared, "OUTPUT").rules[0].actions == (Opaque("-j LATER"),)
    declared = read_text(nat(":DROP - [0:0]", "-A OUTPUT -j DROP"))
    assert chain(declared, "OUTPUT").rules[0].actions == (Jump("DROP"),)


def test_rules_of_a_set_are_resolved() -> None:
    """Catches: lost members of an ipset."""
    text = (
        "create s hash:net family inet hashsize 1024 maxelem 65536\nadd s 10.0.0.0/8\n"
        "create p bitmap:port range 0-65535\nadd p 80\nadd p 443\n"
        "*nat\n-A OUTPUT -m set --match-set s dst -m set ! --match-set p dst -j RETURN\nCOMMIT\n"
    )
    (made,) = chain(read_text(text), "OUTPUT").rules
    assert "((167772160, 184549375),)" in repr(made.conditions[0].test)
    assert "((80, 80), (443, 443))" in repr(made.conditions[1].test)


def test_one_file_holds_both_families() -> None:
    """Catches: IPv6 rules that are read as IPv4 rules."""
    text = (
        "# Generated by iptables-save v1.8.9 (nf_tables) on x\n*nat\n-A OUTPUT -j RETURN\nCOMMIT\n"
        "# Generated by ip6tables-save v1.8.9 (nf_tables) on x\n*nat\n"
        "-A OUTPUT -d 2001:db8::/32 -j RETURN\nCOMMIT\n"
    )
    rules = read_text(text)
    assert [len(rules.at(Hook.OUTPUT, family)) for family in (4, 6)] == [1, 1]


def test_nft_statements_before_a_match_stay_before_it() -> None:
    """Catches: a mark that is set only if a later match of the same rule holds."""
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}
    port = {"payload": {"protocol": "tcp", "field": "dport"}}
    match = {"match": {"op": "==", "left": port, "right": 80}}
    rules = read_text(nft(base("o", "output"), rule("o", mark, match, {"accept": None})))
    first, second = chain(rules, "o", "t").rules
    assert (first.conditions, first.actions) == ((), (Write(Field.MARK, 1, 2**32 - 1),))
    assert len(second.conditions) == 1


def test_nft_rule_of_iptables_is_opaque() -> None:
    """Catches: a match that nft cannot show, and that counts as true."""
    xt = {"xt": {"type": "match", "name": "owner"}}
    rules = read_text(nft(base("o", "output"), rule("o", xt, {"return": None})))
    (made,) = chain(rules, "o", "t").rules
    assert isinstance(made.conditions[0].test, Unknown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rules"),
        ("-A OUTPUT -j DROP\n", "line 1: a rule stands before any table"),
        ("*nat\n-A OUTPUT -j DROP\n", "line 2: the table nat, opened in line 1, has no COMMIT"),
        ("*nat\n-A NOWHERE -j DROP\nCOMMIT\n", "line 2: the chain 'NOWHERE' is not declared"),
        ("*nut\nCOMMIT\n", "line 1: there is no table 'nut'"),
        ("*nat\n-A OUTPUT -p\nCOMMIT\n", "line 2: the line ends where a value of -p"),
        ("*nat\n-A OUTPUT -d 10.0.0.300 -j DROP\nCOMMIT\n", "line 2: "),
        ("*nat\n-A OUTPUT -p tcp --dport 70000 -j DROP\nCOMMIT\n", "line 2: "),
        ('*nat\n-A OUTPUT -m comment --comment "x -j DROP\nCOMMIT\n', "line 2: a quote"),
        ("*nat\n:A\x1b[2J - [0:0]\nCOMMIT\n", "line 2: the line holds the control character"),
        ("*nat\nwhat is this\nCOMMIT\n", "line 2: "),
        ("*nat\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\nCOMMIT\n", "line 5: the jump to"),
        ("*nat\n:A - [0:0]\n-A A -j A\nCOMMIT\n", "line 3: the jump to 'A' closes a cycle"),
        ('{"nftables": [{"rule": {}}]}', "line 1: not what nft -j list ruleset writes"),
        ('{"nftables": [', "line 1: not valid JSON"),
        ("create x\n", "line 1: this is not a line of ipset save"),
    ],
)
def test_bad_file_is_refused_with_its_line(text: str, message: str) -> None:
    """Catches: an error without the line, or half of the rules read."""
    with pytest.raises(RulesError) as caught:
        read_text(text)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "*nat\n" + "-A OUTPUT -p tcp --dport 80 -j RETURN\n" * 20_000 + "COMMIT\n",
        lambda: "*nat\n" + ":C - [0:0]\n" * 20_000 + "COMMIT\n",
        lambda: "[" * 20_000,
        lambda: '{"a":' * 20_000,
    ],
)
def test_large_file_is_read_in_linear_time(make: Callable[[], str]) -> None:
    """Catches: a reader that needs quadratic time or a deep stack."""
    with suppress(RulesError):
        read_text(make())


def test_long_chain_of_chains_is_refused() -> None:
    """Catches: jumps that exceed the recursion limit, in any order of the chains."""
    names = [f"C{i}" for i in range(5000)]
    jumps = [f"-A {a} -j {b}" for a, b in pairwise(names)]
    for order in (names, names[::-1]):
        lines = ["*nat", *(f":{name} - [0:0]" for name in order), *jumps, "COMMIT", ""]
        with pytest.raises(RulesError, match=r"line \d+: jumps are nested more than 64 deep"):
            read_text("\n".join(lines))


def test_control_character_in_a_name_of_nft_is_refused() -> None:
    """Catches: a name that writes to the terminal of the reader."""
    text = '{"nftables": [\n{"table": {"family": "ip", "name": "a\\u001b[31m"}}]}'
    with pytest.raises(RulesError, match="line 2: the text holds the control character"):
        read_text(text)


def test_listing_of_nft_ends_where_it_is_complete() -> None:
    """Catches: a listing that hides the files after it, or that makes them an error."""
    lines = nat("-A OUTPUT -p tcp -j ACCEPT").splitlines()
    text = "\n".join([nft(base('a "{', "output")), *lines, "default via 10.2.0.1 dev eth0"])
    found = read_text(text)
    assert {each.table for each in found.chains.values()} >= {"nat", "t"}


@pytest.mark.parametrize(
    ("line", "varies"),
    [
        ("-A OUTPUT -m owner --gid-owner 7 -j ACCEPT", {Field.GID}),
        ("-A OUTPUT -m mark --mark 7 -j ACCEPT", {Field.MARK}),
        ("-A OUTPUT -m connmark ! --mark 7 -j ACCEPT", {Field.MARK}),
        ("-A OUTPUT -j CONNMARK --save-mark", {Field.MARK}),
        ("-A OUTPUT -j TTL --ttl-set 7", {Field.TTL}),
        ("-A OUTPUT -j DSCP --set-dscp 7", {Field.TOS}),
        ("-A OUTPUT -m dscp --dscp 7 -j DROP", {Field.TOS}),
        ("-A OUTPUT -f -j DROP", {Field.FRAGMENT}),
        ("-A OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP", {Field.ICMP_CODE}),
        ("-A OUTPUT -d 10.0.0.1 -j DROP", set()),
    ],
)
def test_field_that_a_rule_reads_or_writes_varies(line: str, varies: set[Field]) -> None:
    """Catches: a proof for one value of a field on which the fate of packets depends."""
    plain = set(unseen(read_text("*mangle\n:OUTPUT ACCEPT\nCOMMIT")))
    assert plain - set(unseen(read_text(f"*mangle\n:OUTPUT ACCEPT\n{line}\nCOMMIT"))) == varies


def test_field_that_chooses_a_routing_table_varies() -> None:
    """Catches: a proof that follows packets of one mark, although another one is routed apart."""
    rules = read_text("*nat\nCOMMIT\n100:\tfrom all fwmark 0x1 lookup 100")
    assert Field.MARK not in unseen(rules)


def test_headings_of_our_own_print_separate_the_ip_versions() -> None:
    """Catches: ``reference print``, whose rules of IPv6 are read as those of IPv4."""
    rules = "# {}-restore --noflush\n*nat\n-N A\n-A A -d {} -j RETURN\nCOMMIT\n"
    text = rules.format("iptables", "127.0.0.0/8") + rules.format("ip6tables", "::1/128")
    listings, _ = saved_listings(text)
    assert list(listings) == ["iptables4", "iptables6"]
    assert "::1/128" in listings["iptables6"]
    assert len(read_text(text).chains) >= 2


@pytest.mark.parametrize(
    "text",
    [
        "*raw\n-A OUTPUT -p tcp -m tcp --dport 5432 -j CT --timeout short\nCOMMIT",
        """{"nftables": [{"chain": {"family": "ip", "table": "x", "name": "y", "type": "filter",
        "hook": "output", "prio": -150, "policy": "accept"}},
        {"rule": {"family": "ip", "table": "x", "chain": "y", "expr": [{"ct timeout": "z"}]}}]}""",
    ],
)
def test_time_limit_of_connections_is_named(text: str) -> None:
    """Catches: a proof about a pod whose rules let connection tracking forget idle connections."""
    (remark,) = read_text(text).remarks
    assert "time limit" in remark


@pytest.mark.parametrize(("name", "number"), [("ipip", 94), ("ipencap", 4), ("ggp", 3), ("st", 5)])
def test_protocol_has_the_number_of_its_name(name: str, number: int) -> None:
    """Catches: rules that are not understood, or are about another protocol."""
    rules = read_text(f"*filter\n-A OUTPUT -p {name} -j DROP\nCOMMIT")
    ((rule,),) = [chain.rules for chain in rules.chains.values() if chain.rules]
    assert rule.conditions[0].test == Number(Field.PROTOCOL, ((number, number),))


@pytest.mark.parametrize(
    ("protocol", "field", "right", "test"),
    [
        ("icmp", "code", '"frag-needed"', Number(Field.ICMP_CODE, ((4, 4),))),
        (
            "icmpv6",
            "type",
            '{"range": ["nd-router-solicit", "nd-redirect"]}',
            Number(Field.ICMP_TYPE, ((133, 137),)),
        ),
        ("ip6", "nexthdr", '{"set": ["ip", 43]}', Number(Field.PROTOCOL, ((0, 0), (43, 43)))),
        ("icmp", "type", '"what-is-new"', None),
    ],
)
def test_names_in_a_listing_of_nft_are_understood(
    protocol: str, field: str, right: str, test: Number | None
) -> None:
    """Catches: one name that makes all rules of a pod unreadable."""
    left = f'{{"payload": {{"protocol": "{protocol}", "field": "{field}"}}}}'
    text = f'{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}'
    rules = read_text(
        '{"nftables": [{"chain": {"family": "inet", "table": "x", "name": "y"}},'
        f' {{"rule": {{"family": "inet", "table": "x", "chain": "y", "expr": [{text}]}}}}]}}'
    )
    ((rule,),) = [chain.rules for chain in rules.chains.values()]
    found = list(parts(rule.conditions[0].test))
    assert test in found if test else any(isinstance(part, Unknown) for part in found)
