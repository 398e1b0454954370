"""Ranges that match too much: the other IP version, or source addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address

from pytest_fsmredir.model.policy import Network
from tests.mutants.changes import Change, before, drop, when
from tests.mutants.correct import OUT, TO_OUT, Case, Tag, of_family
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules

Listed = Iterable[Network]


def _excluded(case: Case) -> Listed:
    return case.policy.outbound_ip_range_exclusion_list


def _included(case: Case) -> Listed:
    return case.policy.outbound_ip_range_inclusion_list


def _all_of_the_other(listed: Callable[[Case], Listed]) -> Callable[[Case], bool]:
    return lambda case: any(n.prefixlen == 0 and n.version != case.family for n in listed(case))


def _only_of_the_other(case: Case) -> bool:
    return bool(_excluded(case)) and not of_family(_excluded(case), case.family)


def _holds_the_pod(case: Case) -> bool:
    own = [ip_address(address) for address in case.addresses]
    return any(n.prefixlen and a in n for n in _excluded(case) for a in own)


def _by_source_too(tag: str) -> Change:
    """Also compare the source address, if the destination is in no range."""

    def change(rules: Rules, case: Case) -> Rules:
        of_tag = [rule for rule in rules if rule.tag == tag]
        new = (replace(rule, tag="", match=rule.match.replace("-d ", "-s ")) for rule in of_tag)
        return before(Tag.CAPTURE_OUT, *new)(rules, case)

    return change


_ALL_DIRECT = before(Tag.CAPTURE_OUT, Rule("", OUT))
_ALL_CAPTURED = before(Tag.CAPTURE_OUT, Rule("", OUT, "", TO_OUT))

MUTANTS = (
    Mutant(
        name="excluded-ranges-of-one-version-open-the-other",
        what="excluded ranges: a list without one of this IP version exempts all of it",
        source="a rule whose -d is left out, B32",
        rules=when(_only_of_the_other, _ALL_DIRECT),
    ),
    Mutant(
        name="excluded-ranges-everything-of-both-versions",
        what="excluded ranges: 0.0.0.0/0 is all of IPv6 too, and ::/0 all of IPv4",
        source="a range of length 0 made into a rule without -d, B32",
        rules=when(_all_of_the_other(_excluded), _ALL_DIRECT),
    ),
    Mutant(
        name="included-ranges-everything-of-both-versions",
        what="included ranges: 0.0.0.0/0 is all of IPv6 too, and ::/0 all of IPv4",
        source="a range of length 0 made into a rule without -d, B32",
        rules=when(_all_of_the_other(_included), _ALL_CAPTURED),
    ),
    Mutant(
        name="excluded-ranges-by-source-too",
        what="excluded ranges: a pod whose own address is in one is not captured",
        source="a list matched in both directions of a flow",
        rules=_by_source_too(Tag.RANGE),
    ),
    Mutant(
        name="included-ranges-by-source-too",
        what="included ranges: a pod whose own address is in one is captured whole",
        source="a list matched in both directions of a flow",
        rules=_by_source_too(Tag.INCLUDED),
    ),
    Mutant(
        name="excluded-ranges-own-address-uninstalls",
        what="excluded ranges: one with the pod's own address turns inbound capture off",
        source="a pod taken to be excluded as a whole",
        rules=when(_holds_the_pod, drop(Tag.CAPTURE_IN)),
    ),
)
