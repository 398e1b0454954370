"""Redaction of a captured pod: nothing of the original is left, and the rules decide as before."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from pytest_fsmredir.cli.capture.command import main
from pytest_fsmredir.errors import CaptureError
from pytest_fsmredir.model.capture import Capture, CapturedInterface, CapturedListener
from pytest_fsmredir.model.capture_file import capture_text, parse_capture
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.redacting.pod import redacted
from pytest_fsmredir.model.redacting.renumbering import Network, Renumbering
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Prover
from pytest_fsmredir.rules.reading import read_text
from tests.unit.test_rules_proof import planted, reference

LISTS = {
    "flomesh.io/outbound-ip-range-exclusion-list": "10.9.0.0/16,52.31.1.7/32,2620:7:9::/48",
    "flomesh.io/outbound-port-exclusion-list": "5432,6379",
}
POD = Capture(
    pod="shop/web-7d4b9c-x2",
    interfaces=(CapturedInterface("eth0", ("10.2.0.9/24", "fd00:2::9/64")),),
    users={"payments": 1000, "pipy": 1500},
    listeners=(CapturedListener("::ffff:10.2.0.9", 8080, 1000),),
    annotations={**LISTS, "flomesh.io/token": "hidden"},
    traffic={"outboundIPRangeInclusionList": ["10.9.4.0/24"]},
    left_out=("the namespace shop is in no mesh; 10.2.0.9 has no route",),
)
OUT = ":SHOP_OUT - [0:0]\n-A SHOP_OUT"


def with_rules(text: str) -> Capture:
    return replace(POD, listings={"iptables4 nft": f"*nat\n{OUT} {text}\nCOMMIT\n"})


def one_rule(text: str) -> str:
    """Return a redacted rule without its chain."""
    listing = redacted(with_rules(text)).capture.listings["iptables4 nft"]
    return next(line for line in listing.splitlines() if "-A" in line).split(" ", 2)[2]


def networks(chance: random.Random) -> list[Network]:
    """Return prefixes and addresses, many of which contain each other."""
    found: list[Network] = []
    for _ in range(60):
        base = chance.choice(["10.0.0.0", "52.16.0.0", "172.16.0.0", "8.8.0.0", "198.51.100.0"])
        value = int(ip_address(base)) + chance.getrandbits(chance.choice([4, 12, 20]))
        length = chance.choice([32, 32, 24, 16, 13])
        found.append(ip_network((value, length), strict=False))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_prefixes_contain_what_they_contained(seed: int) -> None:
    """Catches: a listed address that is outside of its listed prefix, or two that become one."""
    given = networks(random.Random(seed))  # noqa: S311 - a seeded draw
    scheme = Renumbering(4, given)
    made = [scheme.network(each) for each in given]
    for one, other in zip(given, made, strict=True):
        assert one.is_private == other.is_private
        assert one.prefixlen == other.prefixlen
        for inner, its in zip(given, made, strict=True):
            assert inner.overlaps(one) == its.overlaps(other)
            assert (inner == one) == (its == other)


@pytest.mark.parametrize("seed", range(20))
def test_ranges_contain_what_they_contained(seed: int) -> None:
    """Catches: a range that ends before it begins, or that loses an address."""
    chance = random.Random(seed)  # noqa: S311 - a seeded draw
    start = int(ip_address("10.9.0.0"))
    values = [start + chance.getrandbits(12) for _ in range(40)]
    first, last = sorted(values[:2])
    ends = IPv4Address(first), IPv4Address(last)
    scheme = Renumbering(4, map(ip_network, values), [ends])
    low, high = (scheme.network(ip_network(each))[0] for each in ends)
    for value in values:
        moved = scheme.network(ip_network(value))[0]
        assert (first <= value <= last) == (int(low) <= int(moved) <= int(high))


def test_nothing_of_the_original_is_left() -> None:
    """Catches: an address, a name, a comment or a foreign annotation in a redacted file."""
    rules = (
        '-s 10.9.1.7/32 -m comment --comment "let \\"bob\\" in" -j DNAT --to-destination'
        " 10.2.0.8:80\n-A SHOP_OUT -m mac --mac-source AA:bb:cc:dd:ee:ff -m set --match-set web_dbs"
        " dst -j RETURN\n"
        '-A SHOP_OUT -d 52.31.0.0/16 -j LOG --log-prefix "bob: "'
    )
    nft = [
        {"table": {"family": "inet", "name": "shop", "comment": "of bob"}},
        {"rule": {"table": "shop", "expr": [{"match": {"right": {"prefix": {
            "addr": "10.9.0.0", "len": 16}}}}, {"log": {"prefix": "bob"}}]}},
        {"element": {"table": "shop", "elem": [{"range": ["52.31.1.1", "52.31.1.9"]}]}},
    ]  # fmt: skip
    pod = with_rules(rules)
    listings = {
        **pod.listings,
        "ipset": 'create web_dbs hash:net comment\nadd web_dbs 10.9.0.0/16 comment "bob"\n',
        "nft": json.dumps({"nftables": nft}),
        "route4": "default via 10.2.0.1 dev eth0\n10.2.0.0/24 dev eth0 src 10.2.0.9\n",
    }
    text = capture_text(redacted(replace(pod, listings=listings)).capture)
    words = ("shop", "web", "payments", "bob", "hidden", "token", "pipy", "aa:bb")
    assert not [word for word in words if word in text.lower()]
    assert not re.findall(r"\b(?:10\.2\.0\.|10\.9\.|52\.31\.|2620:7|fd00:2)[\d.:]*", text)
    assert "sidecar: 1500" in text
    assert capture_text(parse_capture(text)) == text


def test_same_address_has_one_replacement() -> None:
    """Catches: a rule about the pod's own address that no longer names it."""
    found = redacted(with_rules("-d 10.2.0.9/32 -j RETURN")).capture
    own = found.addresses[0]
    assert f"-d {own}/32 " in found.listings["iptables4 nft"]
    assert ip_address(found.listeners[0].address) == ip_address(f"::ffff:{own}")
    assert found.interfaces[0].addresses[0] == f"{own}/24"


def test_result_depends_on_the_file_alone() -> None:
    """Catches: a replacement that is drawn anew each time."""
    assert redacted(parse_capture(capture_text(POD))) == redacted(POD)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("-d 127.0.0.0/8 -j RETURN", "-d 127.0.0.0/8 -j RETURN"),
        ("-d 169.254.169.254/32 -j RETURN", "-d 169.254.169.254/32 -j RETURN"),
        ("-s 0.0.0.0/0 -d 224.0.0.0/4 -j RETURN", "-s 0.0.0.0/0 -d 224.0.0.0/4 -j RETURN"),
        ("-p tcp -m multiport --dports 80,15901:15904 -j FSM_PROXY_IN", ""),
        ("-m mark --mark 0x1/0xff -j RETURN", ""),
    ],
)
def test_what_identifies_nobody_is_kept(rule: str, kept: str) -> None:
    """Catches: a port range, a mark or a special address that is taken for an address."""
    assert one_rule(rule) == (kept or rule)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("-d 10.0.9.0/255.0.255.0 -j RETURN", "is not the length of a prefix"),
        ("-m u32 --u32 0x10=0xa090001 -j RETURN", "the match u32 can hold an address"),
        ("-m string --string shop.example --algo bm -j DROP", "the match string can hold"),
    ],
)
def test_rule_that_can_hide_an_address_is_named(rule: str, words: str) -> None:
    """Catches: a file that is called redacted, and holds an address in another form."""
    with pytest.raises(CaptureError, match=words) as caught:
        redacted(with_rules(rule))
    assert rule in str(caught.value)


@pytest.mark.parametrize("seed", range(24))
def test_model_finds_as_many_faults_as_before(seed: int) -> None:
    """Catches: a rule or a list that means something else after the redaction."""
    chance = random.Random(seed)  # noqa: S311 - a seeded draw
    family = 4 + 2 * (seed % 2)
    ranges = {4: "10.{}.0.0/16,52.{}.0.0/15,10.9.{}.0/24", 6: "2620:{}::/48,fd10:{}::/64"}[family]
    lists = {
        "flomesh.io/outbound-ip-range-exclusion-list": re.sub(
            r"\{\}", lambda _: str(chance.randrange(0, 250, 2)), ranges
        )
    }
    pod = replace(POD, annotations=lists, traffic={})
    lines = reference(pod.configuration.policy(), family)
    if seed >= 4:
        chain, conditions = planted(chance, family)
        lines = _mutated(lines, chance, f"-A {chain} {conditions} -j RETURN")
    name = f"iptables{family} nft"
    pod = replace(pod, listings={name: "\n".join([*lines, ""])})
    found = redacted(pod).capture
    before, after = (
        _faults(each.listings[name], each.configuration.policy(), family, each.addresses)
        for each in (pod, found)
    )
    assert before == after
    assert bool(before) == (seed >= 4)


def _mutated(lines: list[str], chance: random.Random, fault: str) -> list[str]:
    """Return rules with a planted rule, without a rule about a range, or with a wider one."""
    ranged = [n for n, line in enumerate(lines) if re.search(r" -d \S+/(15|16|24|48|64) ", line)]
    place = chance.choice(ranged)
    wider = re.sub(r"/(\d+) ", lambda found: f"/{int(found[1]) - 1} ", lines[place])
    address = ip_network(wider.split()[3], strict=False)
    wider = wider.replace(wider.split()[3], str(address))
    chain = fault.split()[1]
    hook = next(n for n, line in enumerate(lines) if line.startswith(f"-A {chain} "))
    return chance.choice(
        [
            [*lines[:hook], fault, *lines[hook:]],
            [*lines[:place], *lines[place + 1 :]],
            [*lines[:place], wider, *lines[place + 1 :]],
        ]
    )


def _faults(text: str, policy: Policy, family: int, addresses: tuple[str, ...]) -> list[str]:
    prover = Prover(read_text(text, family), policy, family, Surroundings({"eth0": addresses}))
    proofs = [prover.prove(direction) for direction in Direction]
    return [f"{f.duty} {f.end}" for proof in proofs for f in (*proof.findings, *proof.doubts)]


def test_file_is_redacted_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a copy of the file, or a second redaction that looks like a first one."""
    file, made = tmp_path / "pod.yaml", tmp_path / "made.yaml"
    file.write_text(capture_text(with_rules("-d 10.2.0.9/32 -j RETURN")))
    assert main(["--from-file", str(file), "-o", str(made)]) == 2
    assert "add --redact" in capsys.readouterr().err
    assert main(["--from-file", str(file), "--redact", "-o", str(made)]) == 0
    assert "10.2.0" not in made.read_text()
    assert main(["--from-file", str(made), "--redact"]) == 2
    assert "is redacted already" in capsys.readouterr().err
