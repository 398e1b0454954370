"""Single random exemptions in a correct rule set, which the checks of every flow have to find."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from random import Random

from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.judgement import EVERY_FLOW
from tests.mutants.catalogue.native import Natively
from tests.mutants.changes import for_family
from tests.mutants.correct import IN, OUT, Case, Tag
from tests.mutants.judge import FAMILIES, Point, Trial
from tests.mutants.mutant import Mutant, MutantImplementation
from tests.mutants.parallel import spread
from tests.mutants.rules import Rule, Rules
from tests.mutants.runner import ORIGINAL, judge_of

VARIANTS = ("nft", "legacy", "native")


@dataclass(frozen=True, slots=True)
class Words:
    """One condition, in the words of ``iptables-save`` and of nft."""

    iptables: str
    nft: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A correct rule set with one exemption.

    Attributes:
        mutant: The rule set.
        point: Where it is judged.
        condition: The condition of the exemption, as a failure shows it.
    """

    mutant: Mutant
    point: Point
    condition: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the checks say about an exemption.

    Attributes:
        seed: The seed of the exemption.
        what: The exemption.
        found: Whether a check fails.
        named: Whether the failure names the rule.
        detail: The failure, or the errors.
    """

    seed: int
    what: str
    found: bool
    named: bool
    detail: str


def planted(seed: int) -> Planted:
    """Return the rule set of a seed."""
    chance = Random(seed)  # noqa: S311
    point = Point(VARIANTS[seed % len(VARIANTS)], chance.choice(FAMILIES))
    inbound = chance.random() < 0.4
    make = chance.choice(_INBOUND if inbound else _OUTBOUND)
    words = make(chance, point.family)
    name, what = f"planted-{seed}", f"{point}, {'in' if inbound else 'out'}: {words.iptables}"
    if point.iptables == "native":
        rules = (f"{words.nft} return",)
        load = Natively(entering=rules) if inbound else Natively(leaving=rules)
        mutant = Mutant(name=name, what=what, source="a seed", load=load)
        return Planted(mutant, point, _listed(words.nft))
    rule = Rule("", IN if inbound else OUT, words.iptables, chance.choice(["RETURN", "ACCEPT"]))
    last = Tag.CAPTURE_IN if inbound else Tag.CAPTURE_OUT
    change = for_family(point.family, partial(_inserted, rule=rule, last=last, at=chance.random()))
    return Planted(
        Mutant(name=name, what=what, source="a seed", rules=change), point, words.iptables
    )


def judge_planted(seed: int, timeout_s: float) -> Finding:
    """Judge the rule set of a seed by the checks of every flow, until one of them fails."""
    made = planted(seed)
    original = "same-natively" if made.point.iptables == "native" else ORIGINAL
    judge = judge_of(MutantImplementation(made.mutant), timeout_s, why=True, original=original)
    trials: list[Trial] = []
    for check in catalogue.load().checks:
        if check.id.startswith(EVERY_FLOW) and judge.applies(check, made.point):
            trial = judge.run(check, made.point)
            trials.append(trial)
            if trial.outcome in {"fail", "warn"}:
                named = made.condition in trial.detail or bool(trial.naming)
                return Finding(seed, made.mutant.what, True, named, trial.detail)
    errors = [f"{trial}: {trial.detail}" for trial in trials if trial.outcome == "error"]
    return Finding(seed, made.mutant.what, False, False, "; ".join(errors))


def print_planted(count: int, seed: str, jobs: int, timeout_s: float) -> int:
    """Judge seeded exemptions; print those that are not found or not named.

    Returns:
        0 if all are found and named; else 1.
    """
    first = Random(seed).randrange(10**6)  # noqa: S311
    found = named = 0
    work = partial(judge_planted, timeout_s=timeout_s)
    for one in spread(work, range(first, first + count), jobs):
        found += one.found
        named += one.named
        if not one.named:
            word = "not named" if one.found else "NOT FOUND"
            sys.stdout.write(f"{word}: seed {one.seed}: {one.what}\n    {one.detail}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{found} of {count} exemptions found, and {named} named, --seed {seed}\n")
    return int(named < count)


def _inserted(rules: Rules, case: Case, *, rule: Rule, last: str, at: float) -> Rules:
    """Put a rule anywhere before the rule that captures what is left in its chain."""
    del case
    chain = [n for n, each in enumerate(rules) if each.chain == rule.chain]
    places = [n for n in chain if n <= next(n for n in chain if rules[n].tag == last)]
    place = places[int(at * len(places))]
    return (*rules[:place], rule, *rules[place:])


def _listed(nft: str) -> str:
    """Return a condition of nft as a failure shows it."""
    return (
        nft.replace("iifname", "meta iifname").replace("oifname", "meta oifname").replace('"', "")
    )


def _network(chance: Random, family: int) -> str:
    if family == 4:
        length = chance.randrange(12, 33)
        return str(IPv4Network((11 << 24 | chance.getrandbits(24), length), strict=False))
    length = chance.randrange(40, 129)
    return str(IPv6Network((0x20010DB8 << 96 | chance.getrandbits(96), length), strict=False))


def _address(option: str) -> Callable[[Random, int], Words]:
    field = {"-s": "saddr", "-d": "daddr"}[option]

    def make(chance: Random, family: int) -> Words:
        network = _network(chance, family)
        host = network.removesuffix("/32" if family == 4 else "/128")
        return Words(f"{option} {network}", f"{'ip' if family == 4 else 'ip6'} {field} {host}")

    return make


def _port(option: str) -> Callable[[Random, int], Words]:
    def make(chance: Random, family: int) -> Words:
        del family
        low = chance.randrange(1, 15000)
        high = low + chance.choice([0, 0, 1, 9])
        one = low == high
        iptables, nft = (f"{low}", f"{low}") if one else (f"{low}:{high}", f"{low}-{high}")
        return Words(f"-p tcp -m tcp --{option} {iptables}", f"tcp {option} {nft}")

    return make


def _owner(option: str) -> Callable[[Random, int], Words]:
    def make(chance: Random, family: int) -> Words:
        del family
        number = chance.choice(
            [0, 1499, 1501, chance.randrange(2, 1499), chance.randrange(1502, 65534)]
        )
        return Words(f"-m owner --{option}-owner {number}", f"meta sk{option} {number}")

    return make


def _mark(chance: Random, family: int) -> Words:
    del family
    number = chance.randrange(1, 2**32)
    return Words(f"-m mark --mark {number:#x}", f"meta mark {number}")


def _class(chance: Random, family: int) -> Words:
    number = chance.choice([1, 3, 5, 7, 9, 11, 13, 17, 21])  # those without a name
    return Words(f"-m dscp --dscp {number:#04x}", f"{'ip' if family == 4 else 'ip6'} dscp {number}")


def _interface(option: str) -> Callable[[Random, int], Words]:
    word = {"-i": "iifname", "-o": "oifname"}[option]

    def make(chance: Random, family: int) -> Words:
        del family
        name = chance.choice(["eth0", "net1"])
        return Words(f"{option} {name}", f'{word} "{name}"')

    return make


_OUTBOUND = (
    _address("-d"), _port("dport"), _port("sport"), _owner("uid"), _owner("gid"), _mark, _class,
    _interface("-o"),
)  # fmt: skip
_INBOUND = (_address("-s"), _port("dport"), _port("sport"), _class, _interface("-i"))
