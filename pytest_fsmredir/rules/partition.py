"""Divide the numbers of a field into ranges that no rule and no sentence tells apart.

A diagram then has the index of a range in place of a number: 6 bits are enough for an address where
40 ranges are asked about. Sets of packets are far smaller, and no packet is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

from pytest_fsmredir.rules.bdd import Intervals
from pytest_fsmredir.rules.errors import UndividedError
from pytest_fsmredir.rules.forms import (
    Copy,
    Destination,
    Equal,
    Field,
    Number,
    Redirect,
    Tproxy,
    Write,
)
from pytest_fsmredir.rules.ruleset import Routing, RuleSet, parts

Spans = tuple[Field, Intervals]
"""A field, and ranges of numbers that are asked about."""

_ADDRESSES: Final = (
    Field.DESTINATION, Field.SOURCE, Field.FIRST_DESTINATION, Field.FIRST_SOURCE,
)  # fmt: skip
_PORTS: Final = (
    Field.PORT, Field.SOURCE_PORT, Field.FIRST_PORT, Field.FIRST_SOURCE_PORT, Field.TPROXY_PORT,
)  # fmt: skip
_ALIKE: Final = (
    _ADDRESSES, _PORTS, (Field.UID,), (Field.GID,), (Field.PROTOCOL,), (Field.LENGTH,),
    (Field.TTL,), (Field.ICMP_TYPE,), (Field.ICMP_CODE,),
)  # fmt: skip
"""Fields that are divided; those of one group exchange their values, so they share a partition."""


class Partition:
    """The ranges of a field's numbers.

    Attributes:
        width: How many bits an index has.
    """

    def __init__(self, intervals: Iterable[tuple[int, int]], width: int) -> None:
        """Cut at both ends of each interval.

        Args:
            intervals: What is asked about.
            width: How many bits a number has.
        """
        starts = {0}
        for low, high in intervals:
            starts |= {low, high + 1}
        self._starts = sorted(start for start in starts if start < 1 << width)
        self._past = 1 << width
        self.width = max(1, (len(self._starts) - 1).bit_length())

    def index(self, number: int) -> int:
        """Return the index of the range that contains a number."""
        return bisect_right(self._starts, number) - 1

    def lowest(self, index: int) -> int:
        """Return the lowest number of a range; indexes past the last range mean the last one."""
        return self._starts[min(index, len(self._starts) - 1)]

    def around(self, number: int) -> tuple[int, int]:
        """Return the lowest and the highest number of the range that contains a number."""
        following = self.index(number) + 1
        end = self._starts[following] if following < len(self._starts) else self._past
        return self._starts[following - 1], end - 1

    def is_alone(self, number: int) -> bool:
        """Whether a number has a range of its own."""
        return self.around(number) == (number, number)

    def indexes(self, intervals: Intervals) -> Intervals:
        """Return the indexes of the ranges in some intervals.

        Raises:
            UndividedError: An interval contains a part of a range.
        """
        return tuple(self._span(low, high) for low, high in intervals if low < self._past)

    def _span(self, low: int, high: int) -> tuple[int, int]:
        high = min(high, self._past - 1)
        first, last = self.index(low), self.index(high)
        final = last + 1 == len(self._starts)
        end = self._past if final else self._starts[last + 1]
        if self._starts[first] != low or end != high + 1:
            raise UndividedError(f"the numbers from {low} to {high} were not expected")
        return first, (1 << self.width) - 1 if final else last


Partitions = Mapping[Field, Partition]


def partitions(
    rules: RuleSet, routing: Routing, asked: Iterable[Spans], widths: Mapping[Field, int]
) -> dict[Field, Partition]:
    """Return the partitions of the fields whose numbers only ranges are asked about.

    Args:
        rules: The rules.
        routing: The pod's routing.
        asked: Everything else that is asked about.
        widths: How many bits the numbers have.
    """
    spans: dict[Field, list[tuple[int, int]]] = {}
    whole: set[Field] = set()
    _collect(rules, spans, whole)
    for line in routing.rules:
        for part in parts(line.test):
            _ask(part, spans, whole)
    destinations = [route.destination for table in routing.tables.values() for route in table]
    spans.setdefault(Field.DESTINATION, []).extend(destinations)
    for name, intervals in asked:
        spans.setdefault(name, []).extend(intervals)
    found: dict[Field, Partition] = {}
    for alike in _ALIKE:
        if whole.isdisjoint(alike):
            joined = [span for name in alike for span in spans.get(name, ())]
            found |= dict.fromkeys(alike, Partition(joined, widths[alike[0]]))
    return found


def _collect(rules: RuleSet, spans: dict[Field, list[tuple[int, int]]], whole: set[Field]) -> None:
    for chain in rules.chains.values():
        for rule in chain.rules:
            for condition in rule.conditions:
                for part in parts(condition.test):
                    _ask(part, spans, whole)
            for action in rule.actions:
                _do(action, spans, whole)


def _ask(test: object, spans: dict[Field, list[tuple[int, int]]], whole: set[Field]) -> None:
    """Note what a test asks about; fields whose bits it compares are not divided."""
    match test:
        case Number(name, values, None):
            spans.setdefault(name, []).extend(values)
        case Number(name):
            whole.add(name)
        case Equal(left, right):
            whole |= {left, right}


def _do(action: object, spans: dict[Field, list[tuple[int, int]]], whole: set[Field]) -> None:
    """Note the numbers that an action writes."""
    match action:
        case Write(name):
            whole.add(name)
        case Copy(source, target):
            whole |= {source, target}
        case Destination(address, port):
            for name, number in ((Field.DESTINATION, address), (Field.PORT, port)):
                if number is not None:
                    spans.setdefault(name, []).append((number, number))
        case Redirect(port) | Tproxy(port):
            if port is not None:
                spans.setdefault(Field.PORT, []).append((port, port))
