"""Wrong second runs: rules of an earlier run that stay, or new rules that are not added."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from zlib import crc32

from pytest_fsmredir.implementations.base import Target
from tests.mutants import rules as text
from tests.mutants.correct import IN, OUT, TO_OUT, Tag
from tests.mutants.loading import Load, Plan, install, must, restore
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules

Again = Callable[[Plan, Sequence[str]], Rules]
"""A function of a plan and of our chains' earlier lines that returns the rules to load."""


def _again(change: Again) -> Load:
    """Load other rules if an earlier run left some."""

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
    """Keep the exemptions of an earlier run whose rules contain some words."""

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


def _kept_when_empty(tag: str, words: str) -> Again:
    """Keep the rules of a list from an earlier run if the list is empty now."""

    def change(plan: Plan, old: Sequence[str]) -> Rules:
        if any(rule.tag == tag for rule in plan.rules):
            return plan.rules
        return (*_left(old, words), *plan.rules)

    return change


def _added(words: str) -> Again:
    """Keep the rules of a list from an earlier run, and add the new ones."""
    return lambda plan, old: (*_left(old, words), *plan.rules)


def _left(old: Sequence[str], words: str) -> Iterator[Rule]:
    """Yield the rules of an earlier run that contain some words, such as a target."""
    for line in old:
        chain, _, rest = line.removeprefix("-A ").partition(" ")
        match, _, verdict = rest.rpartition(" -j ")
        if f" {words} " in f" {chain} {rest} ":
            yield Rule("", chain, match, verdict)


def _ports(way: str, chain: str, tag: str) -> Iterator[Mutant]:
    words = f"{chain} -p tcp -m multiport --dports"
    yield _mutant(
        f"second-run-keeps-{way}-ports-of-an-empty-list",
        f"a second run without {way} ports keeps those of the first",
        _kept_when_empty(tag, words),
    )
    yield _mutant(
        f"second-run-adds-{way}-ports",
        f"a second run adds its {way} ports to those of the first",
        _added(words),
    )


def _removed_first(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, remove the rules, and then load the new ones."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(restore(pod, plan, text.removal(plan.rules)))
            must(restore(pod, plan, plan.creation))


def _ipv6_removed_first(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, remove the IPv6 rules, and then load the new ones."""
    install(pod, [plan for plan in plans if plan.family == 4])
    _removed_first(pod, [plan for plan in plans if plan.family == 6])


def _unhooked_meanwhile(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, remove the jump of one direction while the chains are refilled."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            jump = ["-t", "nat", "PREROUTING", "-p", "tcp", "-j", IN]
            must(pod.run([plan.program, "--wait", "-D", *jump[2:3], *jump[:2], *jump[3:]]))
            must(restore(pod, plan, plan.renewal))
            must(pod.run([plan.program, "--wait", "-A", *jump[2:3], *jump[:2], *jump[3:]]))


def _guarded(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, drop new connections until the new rules are loaded."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(restore(pod, plan, _guard("-A")))
            must(restore(pod, plan, text.removal(plan.rules)))
            must(restore(pod, plan, plan.creation))
            must(restore(pod, plan, _guard("-D")))


def _guard(do: str) -> str:
    hooks = ("PREROUTING", "OUTPUT")
    lines = (f"{do} {hook} -p tcp -m conntrack --ctstate NEW -j DROP" for hook in hooks)
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


def _skipped_if_alike(sign: Callable[[Plan], str]) -> Load:
    """Do nothing in a second run whose rules have the sign of those that are there.

    An empty chain with the sign in its name remembers it.
    """

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        for plan in plans:
            mark = f"MESHSIGN{crc32(sign(plan).encode()):x}"
            nat = [plan.program, "--wait", "-t", "nat"]
            listing = pod.run([f"{plan.program}-save", "-t", "nat"]).stdout
            if f":{mark} " not in listing:
                install(pod, [plan])
                for old in re.findall(r":(MESHSIGN\w+) ", listing):
                    must(pod.run([*nat, "-X", old]))
                must(pod.run([*nat, "-N", mark]))

    return load


def _length(plan: Plan) -> str:
    return str(len(plan.creation))


def _first_items(plan: Plan) -> str:
    """Return the first item of each list."""
    first: dict[str, str] = {}
    for rule in plan.rules:
        first.setdefault(rule.tag, rule.match.partition(",")[0])
    return repr(first)


def _window(name: str, what: str, load: Load, argument: str = "") -> Mutant:
    return Mutant(name=name, what=what, source="B66", load=load, argument=argument)


def _mutant(name: str, what: str, change: Again) -> Mutant:
    source = "B18: linkerd/linkerd2 9267; B66; a tester's broken implementation"
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
    *_ports("outbound", OUT, Tag.PORT_OUT),
    *_ports("inbound", IN, Tag.PORT_IN),
    _mutant(
        "second-run-keeps-included-ranges",
        "a second run with included ranges captures those of the first as well",
        lambda plan, old: (
            (*_left(old, f"-j {TO_OUT}"), *plan.rules)
            if any(rule.tag == Tag.INCLUDED for rule in plan.rules)
            and f"-A {OUT} -j {TO_OUT}" not in old
            else plan.rules
        ),
    ),
    _mutant(
        "second-run-keeps-inclusion",
        "a second run without included ranges still captures those of the first alone",
        lambda plan, old: (
            tuple(rule for rule in plan.rules if rule.tag != Tag.CAPTURE_OUT)
            + tuple(_left(old, f"-j {TO_OUT}"))
            if f"-A {OUT} -j {TO_OUT}" not in old
            and not any(rule.tag == Tag.INCLUDED for rule in plan.rules)
            else plan.rules
        ),
    ),
    _window(
        "second-run-of-the-same-length-does-nothing",
        "a second run whose rules are as long as those of the first does nothing",
        _skipped_if_alike(_length),
    ),
    _window(
        "second-run-with-the-same-first-items-does-nothing",
        "a second run whose lists begin like those of the first does nothing",
        _skipped_if_alike(_first_items),
    ),
    _window(
        "second-run-removes-first",
        "a second run removes the rules before it loads the new ones",
        _removed_first,
    ),
    _window(
        "second-run-removes-ipv6-first",
        "a second run removes the IPv6 rules before it loads the new ones",
        _ipv6_removed_first,
    ),
    _window(
        "second-run-unhooks-inbound-meanwhile",
        "inbound capture is off while a second run is at work",
        _unhooked_meanwhile,
    ),
    _window(
        "same-guarded-second-run",
        "new connections are dropped while a second run is at work",
        _guarded,
        "SPEC-17.15: a connection may be refused meanwhile",
    ),
)
