"""Represent the packets of one IP version as bits, and tests as sets of packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pytest_fsmredir.rules.bdd import ALL, NONE, Bdd, Intervals, contains, joined, outside
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import (
    AddressType,
    AllOf,
    AnyOf,
    Equal,
    Field,
    Interface,
    Not,
    Number,
    Test,
    Unknown,
)
from pytest_fsmredir.rules.nft_values import WIDTHS

Bits = tuple[int, ...]
"""A number's bits, highest first; each is the set of packets in which the bit is 1."""

Environment = dict[Field, Bits]
"""The value of every field of a packet at one point of its path."""

INTERFACE_WIDTH: Final = 8
FREE_LIMIT: Final = 1024
"""Limit of tests that are not understood; each one is a variable."""

_ORDER: Final = (
    Field.IN, Field.PROTOCOL, Field.TCP_FLAGS, Field.TOS, Field.TTL, Field.LENGTH,
    Field.ICMP_TYPE, Field.ICMP_CODE, Field.FRAGMENT, Field.LINK_TYPE, Field.MARK, Field.GID,
    Field.UID, Field.SOURCE_PORT, Field.PORT, Field.SOURCE, Field.DESTINATION,
)  # fmt: skip
"""Variables from the top of a diagram down. Long lists contain ports and destinations, so these
are at the bottom, where the nodes of one are not repeated for each value of the other."""

_MULTICAST = {4: (0xE0000000, 0xEFFFFFFF), 6: (0xFF << 120, (1 << 128) - 1)}
LOOPBACK: Final = {4: (0x7F000000, 0x7FFFFFFF), 6: (1, 1)}
NO_INTERFACE: Final = ""


def width_of(name: Field, family: int) -> int:
    """Return how many bits a field has."""
    if name in {Field.IN, Field.OUT}:
        return INTERFACE_WIDTH
    if name in {Field.SOURCE, Field.DESTINATION, Field.FIRST_SOURCE, Field.FIRST_DESTINATION}:
        return 32 if family == 4 else 128
    return WIDTHS[name]


def constant(number: int, width: int) -> Bits:
    """Return a number as bits that are constant for all packets."""
    return tuple(ALL if number >> (width - 1 - i) & 1 else NONE for i in range(width))


@dataclass(frozen=True, slots=True)
class Free:
    """The variable that represents a test that is not understood."""

    variable: int
    test: Unknown


class Space:
    """All packets of one IP version in a pod with some interfaces.

    Attributes:
        family: 4 or 6.
        bdd: The store of sets of packets.
        interfaces: Names by number; number 0 means no interface.
        free: Variables of tests that are not understood, in order of first use.
    """

    def __init__(
        self,
        family: int,
        interfaces: Sequence[str],
        local: Intervals,
        fixed: Mapping[Field, int] = MappingProxyType({}),
    ) -> None:
        """Number the variables.

        Args:
            family: 4 or 6.
            interfaces: Their names.
            local: The addresses that lead to the pod itself.
            fixed: Fields with one value in all packets; sets are smaller without their bits.
        """
        self.family, self.bdd = family, Bdd()
        if len(interfaces) >= 1 << INTERFACE_WIDTH:
            raise TooComplexError(f"{len(interfaces)} interfaces are named")
        self.interfaces = (NO_INTERFACE, *interfaces)
        self._local, self._fixed = local, fixed
        self._free: dict[int, Free] = {}
        self._known: dict[int, tuple[Test, Bits, int]] = {}
        self._first: dict[Field, int] = {}
        self._symbols: dict[Field, Bits] = {}
        self._within: dict[tuple[Bits, Intervals], int] = {}
        number = FREE_LIMIT
        for name in _ORDER:
            self._first[name] = number
            number += width_of(name, family)

    @property
    def free(self) -> tuple[Free, ...]:
        """The variables of tests that are not understood."""
        return tuple(self._free.values())

    def variables(self, name: Field) -> range:
        """Return the variables of a field."""
        return range(self._first[name], self._first[name] + width_of(name, self.family))

    def symbol(self, name: Field) -> Bits:
        """Return a field as variables, so that it can have any value; as a constant if fixed."""
        found = self._symbols.get(name)
        if found is None and name in self._fixed:
            found = self._symbols[name] = self.constant(name, self._fixed[name])
        if found is None:
            found = self._symbols[name] = tuple(map(self.bdd.variable, self.variables(name)))
        return found

    def constant(self, name: Field, number: int) -> Bits:
        """Return a field with a fixed value."""
        return constant(number, width_of(name, self.family))

    def index(self, interface: str) -> int:
        """Return the number of an interface.

        Raises:
            ValueError: No interface has that name.
        """
        return self.interfaces.index(interface)

    def value(self, example: Mapping[int, bool], name: Field) -> int:
        """Return the value of a field in an example; bits that the example leaves open are 0."""
        if name in self._fixed:
            return self._fixed[name]
        first = self._first[name]
        number = 0
        for i in range(width_of(name, self.family)):
            number = number << 1 | example.get(first + i, False)
        return number

    def within(self, bits: Bits, intervals: Intervals) -> int:
        """Return the packets in which a number lies in one of the intervals."""
        number = _fixed(bits)
        if number is not None:  # a single packet, or a field that NAT wrote
            return ALL if contains(intervals, number) else NONE
        found = self._within.get((bits, intervals))
        if found is None:
            top, given = (1 << len(bits)) - 1, intervals
            if intervals and intervals[-1][1] > top:
                intervals = tuple((low, min(high, top)) for low, high in intervals if low <= top)
            found = self._within[bits, given] = self.bdd.within(bits, intervals)
        return found

    def holds(self, test: Test, at: Environment) -> int:
        """Return the packets for which a test holds with the given field values."""
        bdd = self.bdd
        match test:
            case AllOf(tests):
                found = ALL
                for part in tests:
                    found = bdd.both(found, self.holds(part, at))
                    if found == NONE:
                        break
                return found
            case AnyOf(tests):
                return bdd.union(self.holds(part, at) for part in tests)
            case Not(inner):
                return bdd.opposite(self.holds(inner, at))
            case Unknown():
                return bdd.variable(self._variable(test))
            case Equal(left, right):
                return self._equal(at[left], at[right])
        return self._leaf(test, at)

    def _leaf(self, test: Number | Interface | AddressType, at: Environment) -> int:
        bits = at[test.field]
        known = self._known.get(id(test))
        if known is not None and known[1] == bits:
            return known[2]
        if isinstance(test, Number):
            kept = bits if test.mask is None else _masked(bits, test.mask)
            found = self.within(kept, test.values)
        elif isinstance(test, Interface):
            found = self.within(bits, self._numbers(test.names))
        else:
            found = self._of_type(test, bits)
        self._known[id(test)] = (test, bits, found)  # keeping the test keeps its id unique
        return found

    def _numbers(self, names: Sequence[str]) -> Intervals:
        matching = (
            number
            for number, interface in enumerate(self.interfaces)
            if any(fits(interface, name) for name in names)
        )
        return joined((number, number) for number in matching)

    def _of_type(self, test: AddressType, bits: Bits) -> int:
        multicast = (_MULTICAST[self.family],)
        broadcast = ((2**32 - 1, 2**32 - 1),) if self.family == 4 else ()
        special = joined([*self._local, *multicast, *broadcast])
        known = {
            "LOCAL": self._local,
            "MULTICAST": multicast,
            "BROADCAST": broadcast,
            "UNICAST": outside(special, len(bits)),
        }
        found = NONE
        for kind in test.types:
            if kind in known:
                found = self.bdd.either(found, self.within(bits, known[kind]))
            else:
                found = self.bdd.either(found, self.bdd.variable(self._variable(test)))
        return found

    def _equal(self, left: Bits, right: Bits) -> int:
        if len(left) != len(right):
            return NONE
        found = ALL
        for a, b in zip(left, right, strict=True):
            found = self.bdd.both(found, self.bdd.choose(a, b, self.bdd.opposite(b)))
        return found

    def _variable(self, test: Unknown | AddressType) -> int:
        found = self._free.get(id(test))
        if found is None:
            if len(self._free) >= FREE_LIMIT:
                raise TooComplexError(f"more than {FREE_LIMIT} conditions are not understood")
            what = test if isinstance(test, Unknown) else Unknown(f"addrtype {test.types}")
            found = Free(len(self._free), what)
            self._free[id(test)] = found
            self._known[-id(test)] = (test, (), NONE)
        return found.variable


def _fixed(bits: Bits) -> int | None:
    """Return the number that constant bits stand for; None if any bit varies."""
    number = 0
    for bit in bits:
        if bit > ALL:
            return None
        number = number << 1 | bit
    return number


def _masked(bits: Bits, mask: int) -> Bits:
    width = len(bits)
    return tuple(b if mask >> (width - 1 - i) & 1 else NONE for i, b in enumerate(bits))


def fits(interface: str, pattern: str) -> bool:
    """Whether the name of an interface fits a pattern; the empty name never does."""
    if not interface:
        return False
    if pattern.endswith("*"):
        return interface.startswith(pattern[:-1])
    return interface == pattern
