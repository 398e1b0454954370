"""Faults of IPv6 next to correct IPv4, or the reverse, and faults of interfaces."""

from __future__ import annotations

from tests.mutants.changes import (
    Change,
    drop,
    drop_matching,
    first,
    for_family,
    in_turn,
    last,
    substitute,
    verdict,
)
from tests.mutants.correct import IN, OUT, TO_OUT, Tag
from tests.mutants.loading import followed_by
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _v6(name: str, what: str, source: str, change: Change) -> Mutant:
    return Mutant(
        name=f"ipv6-{name}", what=f"IPv6: {what}", source=source, rules=for_family(6, change)
    )


def _v4(name: str, what: str, source: str, change: Change) -> Mutant:
    return Mutant(
        name=f"ipv4-{name}", what=f"IPv4: {what}", source=source, rules=for_family(4, change)
    )


def _icmp(kind: str, hook: str) -> Rule:
    words = "-p ipv6-icmp" + (f" --icmpv6-type {kind}" if kind else "")
    return Rule("", hook, words, "DROP", table="filter")


_DISCOVERY = ("neighbour-solicitation", "neighbour-advertisement")

MUTANTS = (
    Mutant(
        name="ipv6-not-programmed",
        what="IPv6 is claimed, and not programmed at all",
        source="B31: istio/istio 46625, 35310; F05",
        families=(4,),
    ),
    Mutant(
        name="ipv4-not-programmed",
        what="only IPv6 is programmed",
        source="B32: istio/istio 37410; one family's rules in the other's pod",
        families=(6,),
    ),
    _v6("outbound-not-captured", "outbound TCP leaks", "B31", drop(Tag.HOOK_OUT)),
    _v6("inbound-not-captured", "inbound TCP passes by", "B31, F05", drop(Tag.HOOK_IN)),
    _v6("sidecar-captured", "the sidecar's own rule is lost", "B32", drop(Tag.SIDECAR)),
    _v6("reserved-captured", "reserved ports have no exemption", "B32, B08", drop(Tag.RESERVED)),
    _v6(
        "health-captured", "port 15904 has no exemption", "B32, B46", drop_matching("--dport 15904")
    ),
    _v6(
        "admin-open",
        "port 15000 is open from outside",
        "B49, F05",
        first(Rule("", IN, "-p tcp --dport 15000")),
    ),
    _v6("outbound-ports-ignored", "excluded outbound ports are ignored", "B32", drop(Tag.PORT_OUT)),
    _v6("inbound-ports-ignored", "excluded inbound ports are ignored", "B32", drop(Tag.PORT_IN)),
    _v6("ranges-ignored", "excluded ranges are ignored", "B32, F03", drop(Tag.RANGE)),
    _v6(
        "inclusion-ignored",
        "the inclusion is ignored",
        "B32, F03",
        in_turn(drop(Tag.INCLUDED), verdict(Tag.CAPTURE_OUT, TO_OUT)),
    ),
    _v6(
        "localhost-captured",
        "::1 is captured",
        "B27, B32",
        in_turn(drop(Tag.LOCAL), drop(Tag.LOOPBACK)),
    ),
    _v6("own-address-captured", "the own address is captured", "B26, B32", drop(Tag.LOCAL)),
    _v6("hairpin-lost", "the hairpin rule is lost", "B24, B32", drop(Tag.HAIRPIN)),
    _v6(
        "redirect-off-by-one",
        "inbound TCP goes to 15004",
        "B32",
        verdict(Tag.REDIRECT_IN, "REDIRECT --to-ports 15004"),
    ),
    _v6(
        "listeners-swapped",
        "outbound TCP goes to 15003",
        "B32",
        verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15003"),
    ),
    _v6(
        "sidecar-uid-wrong",
        "uid 1337 is exempt",
        "B32",
        in_turn(*(substitute(t, "1500", "1337") for t in (Tag.SIDECAR, Tag.LOCAL, Tag.HAIRPIN))),
    ),
    _v6(
        "private-exempt",
        "fc00::/7 is exempt",
        "B32: unique local addresses",
        first(Rule("", OUT, "-d fc00::/7")),
    ),
    _v6(
        "dropped",
        "everything but loopback is dropped, although claimed",
        "B31: istio/istio 35310",
        last(
            Rule("", "OUTPUT", "! -o lo", "DROP", table="filter"),
            Rule("", "INPUT", "! -i lo", "DROP", table="filter"),
        ),
    ),
    _v6(
        "rejected",
        "TCP is rejected, although claimed",
        "B31: istio/istio 46625",
        last(Rule("", "OUTPUT", "-p tcp ! -o lo", "REJECT", table="filter")),
    ),
    _v6(
        "discovery-dropped",
        "neighbour discovery is dropped",
        "B32: istio/istio PR 17789",
        last(*(_icmp(kind, hook) for kind in _DISCOVERY for hook in ("INPUT", "OUTPUT"))),
    ),
    _v6(
        "icmp-dropped",
        "ICMPv6 is dropped",
        "B32: istio/istio 18956",
        last(_icmp("", "INPUT"), _icmp("", "OUTPUT")),
    ),
    _v4("outbound-not-captured", "outbound TCP leaks", "B32", drop(Tag.HOOK_OUT)),
    _v4("inbound-not-captured", "inbound TCP passes by", "B32", drop(Tag.HOOK_IN)),
    Mutant(
        name="interface-exclusion-not-inbound",
        what="an excluded interface is captured inbound",
        source="B11: istio/istio 40326",
        rules=drop(Tag.INTERFACE_IN),
    ),
    Mutant(
        name="interface-exclusion-not-outbound",
        what="an excluded interface is captured outbound",
        source="B11: istio/istio PR 59019",
        rules=drop(Tag.INTERFACE_OUT),
    ),
    Mutant(
        name="interface-exclusion-is-all",
        what="with any interface excluded nothing is captured",
        source="B11: istio/istio 40326",
        rules=in_turn(
            substitute(Tag.INTERFACE_IN, "net1", "+"), substitute(Tag.INTERFACE_OUT, "net1", "+")
        ),
    ),
    Mutant(
        name="interface-directions-swapped",
        what="an excluded interface is matched by -o inbound and by -i outbound",
        source="B11: wrong match",
        rules=in_turn(
            substitute(Tag.INTERFACE_IN, "-i ", "-o "), substitute(Tag.INTERFACE_OUT, "-o ", "-i ")
        ),
    ),
    Mutant(
        name="interface-exclusion-inverted",
        what="the interfaces that are not listed are excluded",
        source="B11: istio/istio 40326",
        rules=in_turn(
            substitute(Tag.INTERFACE_IN, "-i ", "! -i "),
            substitute(Tag.INTERFACE_OUT, "-o ", "! -o "),
        ),
    ),
    Mutant(
        name="interface-exclusion-by-kind",
        what="of an excluded interface's name only the letters count",
        source="F12: eth+ is a wildcard",
        rules=in_turn(
            substitute(Tag.INTERFACE_IN, "1", "+"), substitute(Tag.INTERFACE_OUT, "1", "+")
        ),
        argument="",
    ),
    Mutant(
        name="same-address-on-loopback",
        what="the loopback interface gets the address ::6, from which a sidecar may dial",
        source="Istio's istio-iptables 1.30.3",
        load=followed_by("ip -6 addr replace ::6/128 dev lo 2>/dev/null || :"),  # IPv4 alone: none
        argument="an address of the pod itself: no connection to it leaves the pod",
    ),
)
