"""Everything that was read from one pod: chains, routing and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from pytest_fsmredir.rules.bdd import Intervals, joined
from pytest_fsmredir.rules.forms import (
    AddressType,
    AllOf,
    AnyOf,
    Chain,
    Copy,
    Equal,
    Field,
    Hook,
    Interface,
    Not,
    Number,
    Rule,
    Test,
    Write,
)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One line of ``ip rule``: it selects the routing table for packets.

    Attributes:
        priority: Lowest first.
        test: Holds for the packets that the rule applies to.
        table: The table; None if the rule itself decides (blackhole, unreachable).
        text: The line.
        ignored: The prefix length up to which it ignores routes (``suppress_prefixlength``).
    """

    priority: int
    test: Test
    table: str | None
    text: str
    ignored: int = -1


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a routing table.

    Attributes:
        destination: First and last address.
        kind: ``unicast``, ``local``, ``broadcast``, ``multicast``, ``blackhole``, ...
        interface: The outgoing interface.
    """

    destination: tuple[int, int]
    kind: str
    interface: str


Lookup = tuple[str, str, Intervals]
"""Type of some routes, their interface, and their destinations."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The routing of one IP version.

    Attributes:
        rules: In order of priority.
        tables: Routes by table name.
    """

    rules: tuple[PolicyRule, ...]
    tables: Mapping[str, tuple[Route, ...]]

    def lookups(self, family: int) -> dict[tuple[str, int], list[Lookup]]:
        """Return the routes that each rule uses, by its table and the length that it ignores.

        They are in the order in which they count. The longest prefix wins; routes of one length
        that do the same are joined. Of routes to one prefix the first one counts: the kernel lists
        them by their metric.
        """
        found: dict[tuple[str, int], list[Lookup]] = {}
        for name, ignored in {(rule.table or "", rule.ignored) for rule in self.rules}:
            longest = 1 << (32 if family == 4 else 128) - max(ignored, 0)
            first = {
                route.destination: route
                for route in reversed(self.tables.get(name, ()))
                if ignored < 0 or route.destination[1] - route.destination[0] < longest - 1
            }
            alike = groupby(sorted(first.values(), key=specific), key=specific)
            found[name, ignored] = [
                (kind, device, joined(route.destination for route in same))
                for (_, kind, device), same in alike
            ]
        return found


def specific(route: Route) -> tuple[int, str, str]:
    """Return a key that sorts the longest prefix first."""
    return route.destination[1] - route.destination[0], route.kind, route.interface


@dataclass(slots=True)
class RuleSet:
    """All rules and settings that were read from one pod.

    Attributes:
        chains: By (origin, table, name).
        routing: By IP version, if it was read.
        settings: Kernel settings by name, such as ``net.ipv4.ip_forward``.
        remarks: Notes for the reader about input that was left out.
        unread: Why rules of an IP version may be missing here, by IP version.
    """

    chains: dict[tuple[str, str, str], Chain] = field(default_factory=dict)
    routing: dict[int, Routing] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unread: dict[int, list[str]] = field(default_factory=dict)

    def at(self, hook: Hook, family: int) -> list[Chain]:
        """Return the base chains that packets of a family pass at a hook, in order."""
        found = [c for c in self.chains.values() if c.hook is hook and family in c.families]
        return sorted(found, key=lambda chain: chain.priority)

    def limit_time(self, where: str) -> None:
        """Note a rule that decides how long a connection without packets is remembered."""
        remark = f"a time limit of connection tracking is not modelled: {where}"
        if remark not in self.remarks:
            self.remarks.append(remark)

    def target(self, chain: Chain, name: str) -> Chain | None:
        """Return the chain of that name that a rule of ``chain`` jumps to."""
        return self.chains.get((chain.origin, chain.table, name))

    def mentioned(self) -> frozenset[Field]:
        """Return the fields that a rule or the choice of a routing table reads or writes."""
        rules = [rule for chain in self.chains.values() for rule in chain.rules]
        tests = [condition.test for rule in rules for condition in rule.conditions]
        tests += [rule.test for routing in self.routing.values() for rule in routing.rules]
        found = {name for test in tests for part in parts(test) for name in _read(part)}
        found |= {name for rule in rules for name in _moved(rule)}
        # A packet that belongs to a connection can have any mark.
        return frozenset(found | ({Field.MARK} if Field.CONNECTION_MARK in found else set()))


def _read(test: Test) -> Iterator[Field]:
    if isinstance(test, (Number, Interface, AddressType)):
        yield test.field
    elif isinstance(test, Equal):
        yield from (test.left, test.right)


def _moved(rule: Rule) -> Iterator[Field]:
    for action in rule.actions:
        if isinstance(action, Write):
            yield action.field
        elif isinstance(action, Copy):
            yield from (action.source, action.target)


def parts(test: Test) -> Iterator[Test]:
    """Yield a test and all tests that it contains."""
    yield test
    if isinstance(test, Not):
        yield from parts(test.test)
    elif isinstance(test, (AllOf, AnyOf)):
        for part in test.tests:
            yield from parts(part)
