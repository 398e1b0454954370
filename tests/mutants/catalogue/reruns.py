"""What a run makes of the rules of an earlier one: kept where they should go, or not added to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_fsmredir.implementations.base import Target
from tests.mutants.correct import IN, OUT, TO_OUT, Tag
from tests.mutants.loading import Load, Plan, install
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules

Again = Callable[[Plan, Sequence[str]], Rules]
"""From a plan, and the lines of our chains that an earlier run left, to the rules to load."""


def _again(change: Again) -> Load:
    """Load other rules where an earlier run has left some."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        install(pod, [_changed(pod, plan) for plan in plans])

    def _changed(pod: Target, plan: Plan) -> Plan:
        listing = pod.run([f"{plan.program}-save", "-t", "nat"]).stdout.splitlines()
        old = [line for line in listing if line.startswith((f"-A {IN} ", f"-A {OUT} "))]
        return replace(plan, rules=change(plan, old)) if old else plan

    return load


def _catch_all_stays(plan: Plan, old: Sequence[str]) -> Rules:
    if f"-A {OUT} -j {TO_OUT}" not in old:
        return plan.rules
    return tuple(
        replace(rule, verdict=TO_OUT) if rule.tag == Tag.CAPTURE_OUT else rule
        for rule in plan.rules
    )


def _stale(*marks: str, family: int | None = None) -> Again:
    """Keep the rules of an earlier run that leave something alone and hold one of some words."""

    def change(plan: Plan, old: Sequence[str]) -> Rules:
        kept = [
            Rule("", chain, match)
            for line in old
            for chain, _, match in [line.removesuffix(" -j RETURN")[3:].partition(" ")]
            if line.endswith(" -j RETURN") and any(f"{mark} " in f"{match} " for mark in marks)
        ]
        return (*kept, *plan.rules) if family in (None, plan.family) else plan.rules

    return change


def _without_inbound_ports(plan: Plan, old: Sequence[str]) -> Rules:
    del old
    return tuple(rule for rule in plan.rules if rule.tag != Tag.PORT_IN)


def _mutant(name: str, what: str, change: Again) -> Mutant:
    source = "B18: linkerd/linkerd2 9267; a tester's broken implementation"
    return Mutant(name=name, what=what, source=source, load=_again(change))


MUTANTS = (
    _mutant(
        "second-run-keeps-capturing-all",
        "a second run with included ranges still captures everything",
        _catch_all_stays,
    ),
    _mutant(
        "second-run-keeps-ipv4-ranges",
        "a second run keeps the IPv4 ranges that the first one excluded",
        _stale("-d 198.18.2.0/24", family=4),
    ),
    _mutant(
        "second-run-keeps-ipv6-ranges",
        "a second run keeps the IPv6 ranges that the first one excluded",
        _stale("-d 2001:db8:11::/120", family=6),
    ),
    _mutant(
        "second-run-keeps-interfaces",
        "a second run keeps the interfaces that the first one excluded",
        _stale("-o net1", "-i net1"),
    ),
    _mutant(
        "second-run-adds-no-inbound-ports",
        "a second run excludes no inbound port",
        _without_inbound_ports,
    ),
)
