"""Interactions of the lists: exclusions with inclusions, empty lists, one list with another."""

from __future__ import annotations

from tests.mutants.changes import (
    before,
    drop,
    in_turn,
    moved_before,
    narrow_for,
    to_front,
    verdict,
    when,
)
from tests.mutants.correct import IN, OUT, TO_IN, TO_OUT, Case, Tag, of_family, slots
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules


def _included_only_inbound(rules: Rules, case: Case) -> Rules:
    ranges = [rule.match for rule in rules if rule.tag == Tag.INCLUDED]
    if not ranges:
        return rules
    sources = (Rule("", IN, words.replace("-d ", "-s "), TO_IN) for words in ranges)
    return (*sources, *(rule for rule in rules if rule.tag != Tag.CAPTURE_IN))


def _first_ports(case: Case) -> str:
    return f"-p tcp -m multiport --dports {slots(case.policy.outbound_port_exclusion_list)[0]}"


def _including(case: Case) -> bool:
    return bool(case.policy.outbound_ip_range_inclusion_list)


def _family_included(case: Case) -> bool:
    """Whether the inclusion list names a range of this family."""
    return bool(of_family(case.policy.outbound_ip_range_inclusion_list, case.family))


MUTANTS = (
    Mutant(
        name="empty-exclusion-matches-all",
        what="an empty exclusion list becomes a rule without a range",
        source="B53: kumahq/kuma 10799",
        rules=when(
            lambda case: not case.policy.outbound_ip_range_exclusion_list,
            before(Tag.CAPTURE_OUT, Rule("", OUT)),
        ),
    ),
    Mutant(
        name="empty-inclusion-includes-nothing",
        what="an empty inclusion list leaves nothing captured",
        source="B53: kumahq/kuma 10799; catalogue OII-004",
        rules=verdict(Tag.CAPTURE_OUT, "RETURN"),
    ),
    Mutant(
        name="inclusion-without-closing-return",
        what="after the included ranges everything else is captured too",
        source="B07: istio/istio 32677",
        rules=verdict(Tag.CAPTURE_OUT, TO_OUT),
    ),
    Mutant(
        name="inclusion-before-range-exclusion",
        what="included ranges win over excluded ranges",
        source="B04: istio/istio 6027, PR 6051",
        rules=moved_before(Tag.INCLUDED, Tag.RANGE),
    ),
    Mutant(
        name="inclusion-before-port-exclusion",
        what="included ranges win over excluded ports",
        source="B04: istio/istio 6027; catalogue PREC-002",
        rules=moved_before(Tag.INCLUDED, Tag.PORT_OUT),
    ),
    Mutant(
        name="inclusion-before-all",
        what="included ranges win over everything, the sidecar's rule included",
        source="B30: istio/istio PR 30306; catalogue OII-005",
        rules=to_front(Tag.INCLUDED),
    ),
    Mutant(
        name="range-exclusion-ignored-with-inclusion",
        what="excluded ranges are ignored once there is an inclusion",
        source="B06: istio/istio 9330",
        rules=when(_including, drop(Tag.RANGE)),
    ),
    Mutant(
        name="port-exclusion-ignored-with-inclusion",
        what="excluded ports are ignored once there is an inclusion",
        source="B06: istio/istio 9330",
        rules=when(_including, drop(Tag.PORT_OUT)),
    ),
    Mutant(
        name="inbound-exclusion-ignored-with-inclusion",
        what="excluded inbound ports are ignored once there is an inclusion",
        source="B06: istio/istio 9330",
        rules=when(_including, drop(Tag.PORT_IN)),
    ),
    Mutant(
        name="inclusion-limits-inbound",
        what="with an inclusion only clients from its ranges are captured inbound",
        source="catalogue OII-006",
        rules=_included_only_inbound,
    ),
    Mutant(
        name="inclusion-of-own-pod-captured",
        what="an included address of the pod itself is captured when the application dials it",
        source="catalogue OII-008",
        rules=moved_before(Tag.INCLUDED, Tag.LOCAL),
    ),
    Mutant(
        name="inclusion-opens-sidecar-loop",
        what="with an inclusion the sidecar's own rule is lost",
        source="B30: istio/istio PR 30306",
        rules=when(_including, drop(Tag.SIDECAR)),
    ),
    Mutant(
        name="excluded-ranges-need-excluded-port",
        what="with ports excluded as well, an excluded range counts only on them",
        source="catalogue PREC-003: anded instead of ored",
        rules=when(
            lambda case: case.policy.outbound_port_exclusion_list,
            narrow_for(Tag.RANGE, _first_ports),
        ),
    ),
    Mutant(
        name="inclusion-decided-per-family",
        what="a family without included ranges is captured whole",
        source="B32: istio/istio 19940; F03",
        rules=when(lambda case: not _family_included(case), verdict(Tag.CAPTURE_OUT, TO_OUT)),
    ),
    Mutant(
        name="inclusion-by-negation",
        what="each included range becomes a RETURN for all others: two ranges capture nothing",
        source="B07: istio/istio 32677",
        rules=lambda rules, case: tuple(
            Rule("", OUT, f"! {rule.match}") if rule.tag == Tag.INCLUDED else rule
            for rule in verdict(Tag.CAPTURE_OUT, TO_OUT)(rules, case)
        ),
    ),
    Mutant(
        name="included-udp-redirected",
        what="with an inclusion, UDP to its ranges is redirected",
        source="B35: istio/istio 29639",
        rules=lambda rules, case: (
            *rules,
            *(
                Rule("", "OUTPUT", f"-p udp {rule.match}", "REDIRECT --to-ports 15001")
                for rule in rules
                if rule.tag == Tag.INCLUDED
            ),
        ),
    ),
    Mutant(
        name="inbound-list-replaces-reserved",
        what="with inbound ports excluded, the reserved ports lose their exemptions",
        source="B08: istio/istio 23970",
        rules=when(lambda case: case.policy.inbound_port_exclusion_list, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="outbound-ports-replace-reserved",
        what="with outbound ports excluded, the reserved ports lose their exemptions",
        source="B08: istio/istio 23970",
        rules=when(lambda case: case.policy.outbound_port_exclusion_list, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="excluded-ranges-replace-reserved",
        what="with ranges excluded, the reserved ports lose their exemptions",
        source="B08: istio/istio 23970",
        rules=when(lambda case: case.policy.outbound_ip_range_exclusion_list, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="inclusion-replaces-reserved",
        what="with ranges included, the reserved ports lose their exemptions",
        source="B08: istio/istio 23970",
        rules=when(_including, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="excluded-interface-replaces-reserved",
        what="with interfaces excluded, the reserved ports lose their exemptions",
        source="B08: istio/istio 23970",
        rules=when(lambda case: case.policy.network_interface_exclusion_list, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="exclusions-before-hairpin",
        what="excluded ports and ranges also exempt the sidecar's call to its pod",
        source="B24: openservicemesh/osm PR 4411",
        rules=in_turn(to_front(Tag.RANGE), to_front(Tag.PORT_OUT)),
    ),
    Mutant(
        name="inclusion-loses-hairpin",
        what="with an inclusion the sidecar's call to its pod bypasses the inbound listener",
        source="B24: openservicemesh/osm 4340",
        rules=when(_including, drop(Tag.HAIRPIN)),
    ),
    Mutant(
        name="inclusion-before-own-address",
        what="an included address of the pod itself is captured, unlike one on loopback",
        source="B26: istio/istio 12551",
        rules=moved_before(Tag.LOCAL, Tag.CAPTURE_OUT),
    ),
)
