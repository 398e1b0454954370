"""Protocols other than TCP and UDP: packets that are dropped, or sent with a changed header."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.catalogue.protocols import dropped
from tests.mutants.changes import Change, first, for_family, in_turn
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_SOURCE = "B69: a hardening guide followed in the init container"
_HOOKS = {"out": "OUTPUT", "in": "INPUT"}
_NUMBERS = {"gre": 47, "esp": 50, "dccp": 33, "ipip": 4}
_ICMP_TYPES = (13, 14, 15, 16, 17, 18)
_ICMPV6_TYPES = (130, 131, 132, 133, 134, 135, 136, 143)
_PORTS = (68, 546, 5353)


def _mutant(name: str, what: str, rules: Change) -> Mutant:
    return Mutant(name=name, what=what, source=_SOURCE, rules=rules)


def _both(hook: str, words: str) -> Change:
    return dropped(hook, words, words)


def _changed(chain: str, words: str, v4: str, v6: str) -> Change:
    """Rewrite a header field of the packets that some words match."""
    return in_turn(
        for_family(4, first(Rule("", chain, words, v4, table="mangle"))),
        for_family(6, first(Rule("", chain, words, v6, table="mangle"))),
    )


def _lost() -> Iterator[Mutant]:
    for way, hook in _HOOKS.items():
        for name, number in _NUMBERS.items():
            yield _mutant(
                f"{name}-dropped-{way}",
                f"{name.upper()} is dropped, {way}",
                _both(hook, f"-p {number}"),
            )
        for name, words in (("ah", "-p ah"), ("igmp", "-p igmp")):
            what = f"{name.upper()} is dropped, {way}"
            yield _mutant(f"{name}-dropped-{way}", what, dropped(hook, words))
        yield _mutant(
            f"all-but-known-dropped-{way}",
            f"every protocol except TCP, UDP, ICMP and SCTP is dropped, {way}",
            first(
                *(
                    Rule("", hook, f"-p {number}", "ACCEPT", table="filter")
                    for number in (6, 17, 1, 58, 132)
                ),
                Rule("", hook, "", "DROP", table="filter"),
            ),
        )


def _icmp_lost() -> Iterator[Mutant]:
    for way, hook in _HOOKS.items():
        for kind in _ICMP_TYPES:
            yield _mutant(
                f"icmp-type-{kind}-dropped-{way}",
                f"ICMP of type {kind} is dropped, {way}",
                dropped(hook, f"-p icmp --icmp-type {kind}"),
            )
        for kind in _ICMPV6_TYPES:
            yield _mutant(
                f"icmpv6-type-{kind}-dropped-{way}",
                f"ICMPv6 of type {kind} is dropped, {way}",
                dropped(hook, "", f"-p ipv6-icmp --icmpv6-type {kind}"),
            )


def _udp_lost() -> Iterator[Mutant]:
    for way, hook in _HOOKS.items():
        for port in _PORTS:
            yield _mutant(
                f"udp-from-{port}-dropped-{way}",
                f"UDP from port {port} is dropped, {way}",
                _both(hook, f"-p udp --sport {port}"),
            )
    for cast in ("broadcast", "multicast"):
        yield _mutant(
            f"{cast}-dropped-in",
            f"{cast} is dropped inbound",
            dropped("INPUT", f"-p udp -m pkttype --pkt-type {cast}"),
        )
    yield _mutant(
        "groups-dropped-in",
        "datagrams to a multicast group are dropped inbound",
        dropped("INPUT", "-p udp -d 224.0.0.0/4", "-p udp -d ff00::/8"),
    )


def _rewritten() -> Iterator[Mutant]:
    ways = {"out": "POSTROUTING", "in": "PREROUTING"}
    kinds = {"udp": "-p udp", "other": "! -p tcp", "dscp-46": "-p udp -m dscp --dscp 46"}
    for way, chain in ways.items():
        for kind, words in kinds.items():
            yield _mutant(
                f"dscp-cleared-{kind}-{way}",
                f"the DSCP of '{words}' is cleared, {way}",
                _changed(chain, words, "DSCP --set-dscp 0", "DSCP --set-dscp 0"),
            )
        for kind in ("udp", "other"):
            yield _mutant(
                f"ttl-set-to-1-{kind}-{way}",
                f"the TTL of '{kinds[kind]}' becomes 1, {way}",
                _changed(chain, kinds[kind], "TTL --ttl-set 1", "HL --hl-set 1"),
            )
        yield _mutant(
            f"ttl-raised-{way}",
            f"the TTL of UDP is increased by one, {way}",
            _changed(chain, "-p udp", "TTL --ttl-inc 1", "HL --hl-inc 1"),
        )
        yield _mutant(
            f"icmp-class-set-{way}",
            f"ICMP gets another class, {way}",
            in_turn(
                for_family(4, first(_class(chain, "-p icmp"))),
                for_family(6, first(_class(chain, "-p ipv6-icmp"))),
            ),
        )


def _class(chain: str, words: str) -> Rule:
    return Rule("", chain, words, "DSCP --set-dscp 8", table="mangle")


_INVALID = "-m conntrack --ctstate INVALID"
_DROPS_INVALID = Mutant(
    name="same-invalid-dropped-both-ways",
    what="INVALID packets of connection tracking are dropped, both ways, any protocol",
    source="B36: istio/istio PR 36566, for more than TCP",
    rules=first(
        Rule("", "PREROUTING", _INVALID, "DROP", table="mangle"),
        Rule("", "OUTPUT", _INVALID, "DROP", table="filter"),
    ),
    argument="an intact packet is INVALID only if the kernel misreads its checksum (UDP-Lite)",
)

MUTANTS = (*_lost(), *_icmp_lost(), *_udp_lost(), *_rewritten(), _DROPS_INVALID)
