"""Sets of packets as binary decision diagrams: exact algebra over the bits of a packet.

A set is identified by the number of a node: two sets are equal if their numbers are equal. ``NONE``
is the empty set and ``ALL`` the full set. Every operation caches its results, so it costs at most
the product of the sizes of its operands, and in practice their sum.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pytest_fsmredir.rules.errors import TooComplexError

NONE: Final = 0
ALL: Final = 1

Intervals = tuple[tuple[int, int], ...]
"""Disjoint ranges of numbers, both ends included, in ascending order."""

NODE_LIMIT: Final = 1_000_000
"""Nodes of one diagram, about 250 MB; the model gives up on a rule set that needs more.

Two lists of 10,000 items need 124,000 nodes."""


class Bdd:
    """Stores nodes. Variables are numbered from 0 at the top of the diagram."""

    def __init__(self, node_limit: int = NODE_LIMIT) -> None:
        self._limit = node_limit
        self._variable: list[int] = [1 << 30, 1 << 30]
        self._low: list[int] = [NONE, ALL]
        self._high: list[int] = [NONE, ALL]
        self._unique: dict[tuple[int, int, int], int] = {}
        self._and: dict[tuple[int, int], int] = {}
        self._minus: dict[tuple[int, int], int] = {}
        self._or: dict[tuple[int, int], int] = {}
        self._ite: dict[tuple[int, int, int], int] = {}

    def node(self, variable: int, low: int, high: int) -> int:
        """Return the set that is ``high`` where a variable is set and ``low`` elsewhere.

        The variable must be above all variables of both sets.

        Raises:
            TooComplexError: The store has reached its limit.
        """
        if low == high:
            return low
        key = (variable, low, high)
        found = self._unique.get(key)
        if found is None:
            found = len(self._variable)
            if found >= self._limit:
                raise TooComplexError(f"the rules differ in more than {self._limit} ways")
            self._unique[key] = found
            self._variable.append(variable)
            self._low.append(low)
            self._high.append(high)
        return found

    def variable(self, number: int) -> int:
        """Return the set of packets that have a bit set."""
        return self.node(number, NONE, ALL)

    def is_variable(self, bit: int) -> bool:
        """Whether a bit is a plain variable."""
        return bit > ALL and self._low[bit] == NONE and self._high[bit] == ALL

    def both(self, a: int, b: int) -> int:
        """Return the intersection."""
        if a == b or b == ALL:
            return a
        if a == ALL:
            return b
        if a == NONE or b == NONE:
            return NONE
        key = (a, b) if a < b else (b, a)
        found = self._and.get(key)
        if found is None:
            # This is the innermost loop of a proof: helpers would cost as much as the work.
            top, other = self._variable[a], self._variable[b]
            a0, a1 = (self._low[a], self._high[a]) if top <= other else (a, a)
            b0, b1 = (self._low[b], self._high[b]) if other <= top else (b, b)
            low = NONE if a0 == NONE or b0 == NONE else self.both(a0, b0)
            high = NONE if a1 == NONE or b1 == NONE else self.both(a1, b1)
            found = low if low == high else self.node(min(top, other), low, high)
            self._and[key] = found
        return found

    def either(self, a: int, b: int) -> int:
        """Return the union."""
        if a == b or b == NONE:
            return a
        if a == NONE:
            return b
        if a == ALL or b == ALL:
            return ALL
        key = (a, b) if a < b else (b, a)
        found = self._or.get(key)
        if found is None:
            top, a0, a1, b0, b1 = self._split(a, b)
            found = self.node(top, self.either(a0, b0), self.either(a1, b1))
            self._or[key] = found
        return found

    def minus(self, a: int, b: int) -> int:
        """Return the difference: the packets in ``a`` and not in ``b``."""
        if a in (NONE, b) or b == ALL:
            return NONE
        if b == NONE:
            return a
        key = (a, b)
        found = self._minus.get(key)
        if found is None:
            top, a0, a1, b0, b1 = self._split(a, b)
            found = self.node(top, self.minus(a0, b0), self.minus(a1, b1))
            self._minus[key] = found
        return found

    def opposite(self, a: int) -> int:
        """Return the complement."""
        return self.minus(ALL, a)

    def choose(self, test: int, then: int, other: int) -> int:
        """Return ``then`` within a set, ``other`` outside of it."""
        if test == ALL or then == other:
            return then
        if test == NONE:
            return other
        if then == ALL and other == NONE:
            return test
        key = (test, then, other)
        found = self._ite.get(key)
        if found is None:
            variable = self._variable
            top = min(variable[test], variable[then], variable[other])
            t0, t1 = self._halves(test, top)
            a0, a1 = self._halves(then, top)
            b0, b1 = self._halves(other, top)
            found = self.node(top, self.choose(t0, a0, b0), self.choose(t1, a1, b1))
            self._ite[key] = found
        return found

    def union(self, sets: Iterable[int]) -> int:
        """Return the union of many sets; it joins pairs, small sets first."""
        level = list(sets)
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            rest = level[-1:] if len(level) % 2 else []
            level = [self.either(a, b) for a, b in pairs] + rest
        return level[0] if level else NONE

    def within(self, bits: Sequence[int], intervals: Intervals) -> int:
        """Return the packets in which a number lies in one of the intervals.

        Args:
            bits: The number's bits, highest first; each is the set of packets in which it is 1.
            intervals: Disjoint and ascending.
        """
        if not intervals:
            return NONE
        lows = [low for low, _ in intervals]
        highs = [high for _, high in intervals]
        width, count = len(bits), len(lows)
        number = [self._variable[bit] if self.is_variable(bit) else None for bit in bits]

        def part(depth: int, base: int, last: int) -> int:
            first = bisect_left(highs, base)  # the first interval that ends at base or later
            if first == count or lows[first] > last:
                return NONE
            if lows[first] <= base and highs[first] >= last:
                return ALL
            bit, middle = bits[depth], (base + last) >> 1
            if bit == NONE:
                return part(depth + 1, base, middle)
            if bit == ALL:
                return part(depth + 1, middle + 1, last)
            low = part(depth + 1, base, middle)
            high = part(depth + 1, middle + 1, last)
            variable = number[depth]
            if variable is None or variable >= min(self._variable[low], self._variable[high]):
                return self.choose(bit, high, low)
            return self.node(variable, low, high)

        return part(0, 0, (1 << width) - 1)

    def example(self, of: int) -> dict[int, bool]:
        """Return an example of a packet in a set, as values of variables; the lowest, bit by bit.

        Raises:
            ValueError: The set is empty.
        """
        if of == NONE:
            raise ValueError("the set is empty")
        found: dict[int, bool] = {}
        while of != ALL:
            value = self._low[of] == NONE
            found[self._variable[of]] = value
            of = self._high[of] if value else self._low[of]
        return found

    def holds(self, of: int, values: Sequence[bool]) -> bool:
        """Whether a set contains the packet with these values of all variables."""
        while of > ALL:
            of = self._high[of] if values[self._variable[of]] else self._low[of]
        return of == ALL

    def holds_in(self, of: int, example: Mapping[int, bool]) -> bool:
        """Whether a set contains an example; variables that it leaves open are not set."""
        while of > ALL:
            of = self._high[of] if example.get(self._variable[of], False) else self._low[of]
        return of == ALL

    def support(self, of: int) -> set[int]:
        """Return the variables that a set depends on."""
        found: set[int] = set()
        seen: set[int] = set()
        stack = [of]
        while stack:
            node = stack.pop()
            if node > ALL and node not in seen:
                seen.add(node)
                found.add(self._variable[node])
                stack += (self._low[node], self._high[node])
        return found

    def either_way(self, of: int, variables: Iterable[int]) -> int:
        """Return the packets that are in a set for at least one value of the given variables."""
        wanted = frozenset(variables)
        seen: dict[int, int] = {NONE: NONE, ALL: ALL}

        def part(node: int) -> int:
            if node not in seen:
                low, high = part(self._low[node]), part(self._high[node])
                variable = self._variable[node]
                seen[node] = (
                    self.either(low, high)
                    if variable in wanted
                    else self.choose(self.variable(variable), high, low)
                )
            return seen[node]

        return part(of) if wanted else of

    def work(self) -> int:
        """Return the number of cached results."""
        return len(self._and) + len(self._or) + len(self._minus) + len(self._ite)

    def size(self, of: int) -> int:
        """Return the number of nodes of a set."""
        seen: set[int] = set()
        stack = [of]
        while stack:
            node = stack.pop()
            if node > ALL and node not in seen:
                seen.add(node)
                stack += (self._low[node], self._high[node])
        return len(seen)

    def _halves(self, node: int, top: int) -> tuple[int, int]:
        if self._variable[node] == top:
            return self._low[node], self._high[node]
        return node, node

    def _split(self, a: int, b: int) -> tuple[int, int, int, int, int]:
        va, vb = self._variable[a], self._variable[b]
        if va == vb:
            return va, self._low[a], self._high[a], self._low[b], self._high[b]
        if va < vb:
            return va, self._low[a], self._high[a], b, b
        return vb, a, a, self._low[b], self._high[b]


def joined(intervals: Iterable[tuple[int, int]]) -> Intervals:
    """Return intervals that cover the same numbers, disjoint and ascending."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if low > high:
            continue
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def outside(intervals: Intervals, width: int) -> Intervals:
    """Return the numbers of ``width`` bits that lie in none of the intervals."""
    found = []
    start = 0
    for low, high in intervals:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start < 1 << width:
        found.append((start, (1 << width) - 1))
    return tuple(found)


def common(left: Intervals, right: Intervals) -> Intervals:
    """Return the numbers that lie in both."""
    return joined(
        (max(a, c), min(b, d)) for a, b in left for c, d in right if max(a, c) <= min(b, d)
    )


def contains(intervals: Intervals, number: int) -> bool:
    """Whether a number lies in one of the intervals."""
    at = bisect_right(intervals, (number, 1 << 200)) - 1
    return at >= 0 and intervals[at][0] <= number <= intervals[at][1]
