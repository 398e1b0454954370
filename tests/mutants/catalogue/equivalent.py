"""Mutants that must pass: no packet tells them apart, or the specification permits them."""

from __future__ import annotations

from dataclasses import replace

from tests.mutants.changes import (
    before,
    drop,
    first,
    for_family,
    in_turn,
    last,
    narrow,
    substitute,
    verdict,
    verdict_for,
)
from tests.mutants.correct import IN, OUT, RESERVED_PORTS, TO_IN, TO_OUT, Case, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules

_SEED_NAMES = {
    IN: "PROXY_INBOUND",
    TO_IN: "PROXY_IN_REDIRECT",
    OUT: "PROXY_OUTPUT",
    TO_OUT: "PROXY_REDIRECT",
}


def _renamed_rules(rules: Rules, case: Case) -> Rules:
    del case
    return tuple(
        replace(
            rule,
            chain=_SEED_NAMES.get(rule.chain, rule.chain),
            verdict=_SEED_NAMES.get(rule.verdict, rule.verdict),
        )
        for rule in rules
    )


def _reversed(tag: str, rules: Rules) -> Rules:
    turned = iter([rule for rule in rules if rule.tag == tag][::-1])
    return tuple(next(turned) if rule.tag == tag else rule for rule in rules)


def _one_rule_a_port(rules: Rules, case: Case) -> Rules:
    del case
    found: list[Rule] = []
    for rule in rules:
        if "--dports" not in rule.match:
            found.append(rule)
            continue
        ports = rule.match.rpartition(" ")[2].split(",")
        found.extend(replace(rule, match=f"-p tcp --dport {port}") for port in ports)
    return tuple(found)


def _swapped(rules: Rules) -> Rules:
    ranges = tuple(rule for rule in rules if rule.tag == Tag.RANGE)
    ports = tuple(rule for rule in rules if rule.tag == Tag.PORT_OUT)
    both = {Tag.RANGE, Tag.PORT_OUT}
    place = next((n for n, rule in enumerate(rules) if rule.tag in both), len(rules))
    rest = tuple(rule for rule in rules if rule.tag not in both)
    return (*rest[:place], *ports, *ranges, *rest[place:])


MUTANTS = (
    Mutant(
        name="same-unchanged",
        what="no change at all",
        source="the control of this whole table",
        argument="it is the correct rule set",
    ),
    Mutant(
        name="same-inbound-loopback-returned",
        what="-i lo is exempt inbound",
        source="istio/istio and the built-in reference have this rule",
        rules=first(Rule("", IN, "-i lo")),
        argument="NAT decides a packet on lo in OUTPUT; PREROUTING never sees it as new",
    ),
    Mutant(
        name="same-loopback-rule-lost",
        what="no rule for loopback destinations",
        source="F07",
        rules=drop(Tag.LOOPBACK),
        argument="127.0.0.0/8 and ::1 leave by lo, for which earlier rules decide",
    ),
    Mutant(
        name="same-ranges-reversed",
        what="excluded ranges in reverse order",
        source="Istio and OSM order them differently",
        rules=lambda rules, case: _reversed(Tag.RANGE, rules),
        argument="rules with the same verdict commute",
    ),
    Mutant(
        name="same-ports-before-ranges",
        what="excluded ports and ranges are swapped",
        source="Linkerd has this order",
        rules=lambda rules, case: _reversed(Tag.PORT_OUT, _swapped(rules)),
        argument="rules with the same verdict commute",
    ),
    Mutant(
        name="same-one-rule-a-port",
        what="one rule for each port instead of multiport matches",
        source="istio/istio PR 59544",
        rules=_one_rule_a_port,
        argument="a multiport match is the union of its ports",
    ),
    Mutant(
        name="same-reserved-in-one-match",
        what="all reserved ports in one multiport match",
        source="merbridge/merbridge PR 163",
        rules=in_turn(
            drop(Tag.RESERVED),
            first(
                Rule("", IN, f"-p tcp -m multiport --dports {','.join(map(str, RESERVED_PORTS))}")
            ),
        ),
        argument="a multiport match is the union of its ports",
    ),
    Mutant(
        name="same-seed-chain-names",
        what="the chain names of the seed",
        source="fsm-and-pipy.md, section 1 row 1",
        rules=_renamed_rules,
        argument="no packet carries the name of a chain (SPEC-6.2)",
    ),
    Mutant(
        name="same-jumps-doubled",
        what="each jump is there twice",
        source="F09",
        rules=last(
            Rule("", "PREROUTING", "-p tcp", IN),
            Rule("", "OUTPUT", "-p tcp", OUT),
        ),
        argument="a packet that returns from a chain once returns from it twice",
    ),
    Mutant(
        name="same-rules-doubled",
        what="every rule of our chains is there twice",
        source="B19: metalbear-co/mirrord 3006, without its hang",
        rules=lambda rules, case: (
            *(rule for rule in rules if not rule.hooked),
            *rules,
        ),
        argument="the first copy decides; no packet reaches the second",
    ),
    Mutant(
        name="same-goto",
        what="-g instead of -j into the redirect chains",
        source="Kuma uses goto",
        rules=in_turn(
            verdict(Tag.CAPTURE_IN, f"-g {TO_IN}"),
            verdict(Tag.HAIRPIN, f"-g {TO_IN}"),
        ),
        argument="the chain always decides, so no packet returns from it",
    ),
    Mutant(
        name="same-dnat-to-localhost",
        what="outbound DNAT to 127.0.0.1:15001 and [::1]:15001 instead of REDIRECT",
        source="FSM's pod-IP mode has such rules",
        rules=verdict_for(
            Tag.REDIRECT_OUT,
            lambda case: (
                "DNAT --to-destination "
                + ("127.0.0.1:15001" if case.family == 4 else "[::1]:15001")
            ),
        ),
        argument="that is what REDIRECT does in OUTPUT",
    ),
    Mutant(
        name="same-dnat-to-pod-address",
        what="inbound DNAT to the pod's first address instead of REDIRECT",
        source="openservicemesh/osm PR 4701",
        rules=verdict_for(
            Tag.REDIRECT_IN,
            lambda case: (
                "DNAT --to-destination "
                + (
                    f"{case.addresses[0]}:15003"
                    if case.family == 4
                    else f"[{case.addresses[0]}]:15003"
                )
            ),
        ),
        argument="the listener accepts on all addresses and reads the original destination",
    ),
    Mutant(
        name="same-redirect-random",
        what="REDIRECT --random",
        source="istio/istio 43301",
        rules=verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15001 --random"),
        argument="the range has only one port",
    ),
    Mutant(
        name="same-syn-only",
        what="capture matches --syn",
        source="Kuma's rules",
        rules=in_turn(narrow(Tag.HOOK_OUT, "--syn"), narrow(Tag.HOOK_IN, "--syn")),
        argument="the nat table sees the first packet of a connection, which is a SYN; one that"
        " connection tracking first sees in its middle stays direct, which SPEC-16.3 permits",
    ),
    Mutant(
        name="same-ctstate-new",
        what="capture matches --ctstate NEW",
        source="kube-proxy's idiom",
        rules=in_turn(
            narrow(Tag.HOOK_OUT, "-m conntrack --ctstate NEW"),
            narrow(Tag.HOOK_IN, "-m conntrack --ctstate NEW"),
        ),
        argument="the nat table sees nothing else",
    ),
    Mutant(
        name="same-socketless-exempt",
        what="outbound packets without a socket are exempt",
        source="B54: linkerd/linkerd2-proxy-init PR 53",
        rules=first(Rule("", OUT, "-m owner ! --socket-exists")),
        argument="the first packet of a connection that the pod opens has a socket",
    ),
    Mutant(
        name="same-comments",
        what="every rule carries a comment",
        source="Istio and kube-proxy comment their rules",
        rules=lambda rules, case: tuple(
            replace(rule, match=f'{rule.match} -m comment --comment "{rule.tag or "x"}"')
            for rule in rules
        ),
        argument="a comment matches everything",
    ),
    Mutant(
        name="same-dead-accept-for-15000",
        what="an ACCEPT for port 15000 is after the redirect",
        source="F04",
        rules=last(Rule("", OUT, "-p tcp --dport 15000", "ACCEPT")),
        argument="the redirect before it takes every packet; with an inclusion, the RETURN does",
    ),
    Mutant(
        name="same-inbound-local-types-only",
        what="inbound capture matches --dst-type LOCAL",
        source="B54: linkerd/linkerd2-proxy-init PR 53",
        rules=narrow(Tag.HOOK_IN, "-m addrtype --dst-type LOCAL"),
        argument="packets for other addresses are only forwarded, which no requirement asks for"
        " capture",
    ),
    Mutant(
        name="same-sidecar-on-127-0-0-2",
        what="the hairpin rule exempts 127.0.0.1 only",
        source="F08",
        rules=substitute(Tag.HAIRPIN, "127.0.0.0/8", "127.0.0.1/32"),
        argument="SPEC-7.6: the sidecar's connection to 127.0.0.2 MAY be captured inbound",
    ),
    Mutant(
        name="same-own-inbound-port-returned",
        what="inbound port 15003 is exempt instead of redirected to itself",
        source="merbridge/merbridge PR 163",
        rules=before(Tag.CAPTURE_IN, Rule("", IN, "-p tcp --dport 15003")),
        argument="the same listener gets the connection, with the same destination",
    ),
    Mutant(
        name="same-sidecar-by-first-rule",
        what="the first rule exempts the sidecar's connections on interfaces other than lo",
        source="Linkerd has this order",
        rules=first(Rule("", OUT, "! -o lo -m owner --uid-owner 1500")),
        argument="every later rule that matches them exempts them too",
    ),
    Mutant(
        name="same-empty-chain",
        what="a chain without effect runs first",
        source="kube-proxy's hint chains",
        rules=in_turn(
            first(Rule("", "PREROUTING", "", "MESH_HINT"), Rule("", "MESH_HINT", "-p udp")),
        ),
        argument="it decides nothing",
    ),
    Mutant(
        name="same-own-call-source-rewritten",
        what="a source NAT for connections that arrive on lo",
        source="B47: istio/istio 5679",
        rules=for_family(
            4,
            last(Rule("", "INPUT", "-i lo -p tcp --dport 8000:9000", "SNAT --to-source 127.0.0.6")),
        ),
        argument="a connection on lo has its source decided in POSTROUTING, before INPUT sees it",
    ),
    Mutant(
        name="same-untracked-open-flows-dropped",
        what="packets in the middle of a flow that connection tracking does not know are dropped",
        source="B42: istio/istio 35157",
        rules=first(
            Rule(
                "",
                "INPUT",
                "-p tcp ! --syn -m conntrack --ctstate NEW",
                "DROP",
                table="filter",
            )
        ),
        argument="SPEC-16.3 and SPEC-16.4: only a tracked flow must survive",
    ),
    Mutant(
        name="same-invalid-dropped-on-input",
        what="INVALID packets of connection tracking are dropped in INPUT, any protocol",
        source="B36: istio/istio PR 36566, for more than TCP",
        rules=first(Rule("", "INPUT", "-m conntrack --ctstate INVALID", "DROP", table="filter")),
        argument="an intact packet is INVALID only if the kernel misreads its checksum (UDP-Lite)",
    ),
    Mutant(
        name="same-loopback-exempt-inbound",
        what="packets from outside for 127.0.0.0/8 are not captured",
        source="a rule set for lo in the wrong chain",
        rules=for_family(4, first(Rule("", IN, "-d 127.0.0.0/8"))),
        argument="the kernel drops such packets itself (ip_route_input_slow, net/ipv4/route.c)",
    ),
    Mutant(
        name="same-captured-accepted-in-filter",
        what="captured inbound packets are accepted in the filter table, after foreign rules",
        source="B51: istio/istio 1428",
        rules=last(Rule("", "INPUT", "-p tcp --dport 15003", "ACCEPT", table="filter")),
        argument="later foreign rules are behind it from the start, so that a second"
        " run takes no effect from them",
    ),
    Mutant(
        name="same-exempts-absent-interfaces",
        what="the interfaces of group 7 are exempt, and the pod has none",
        source="a correct rule set with a match that the model of the rules does not know",
        rules=in_turn(
            first(Rule("", IN, "-m devgroup --src-group 7")),
            first(Rule("", OUT, "-m devgroup --dst-group 7")),
        ),
        argument="an interface is in group 0 until somebody moves it (ip-link(8))",
    ),
)
