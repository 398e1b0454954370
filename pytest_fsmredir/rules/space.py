"""Represent the packets of one IP version as bits, and tests as sets of packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pytest_fsmredir.rules.bdd import ALL, NONE, Bdd, Intervals, contains, joined, outside
from pytest_fsmredir.rules.errors import TooComplexError, UndividedError
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
from pytest_fsmredir.rules.partition import Partitions

Bits = tuple[int, ...]
"""A number's bits, highest first; each is the set of packets in which the bit is 1."""

Environment = dict[Field, Bits]
"""The value of every field of a packet at one point of its path."""

INTERFACE_LIMIT: Final = 255
FREE_LIMIT: Final = 1024
"""Limit of tests that are not understood; each one is a variable."""

_ORDER: Final = (
    Field.IN, Field.PROTOCOL, Field.TCP_FLAGS, Field.TOS, Field.TTL, Field.LENGTH,
    Field.ICMP_TYPE, Field.ICMP_CODE, Field.FRAGMENT, Field.LINK_TYPE, Field.MARK, Field.GID,
    Field.UID, Field.SOURCE_PORT, Field.PORT, Field.SOURCE, Field.DESTINATION,
)  # fmt: skip
"""Variables from the top of a diagram down. Long lists contain ports and destinations, so these
are at the bottom, where the nodes of one are not repeated for each value of the other."""

MULTICAST: Final = {4: (0xE0000000, 0xEFFFFFFF), 6: (0xFF << 120, (1 << 128) - 1)}
BROAD: Final = {4: (0xE0000000, 2**32 - 1), 6: (0xFF << 120, 2**128 - 1)}
"""Multicast, and addresses of class E; in IPv6 multicast alone."""

LOOPBACK: Final = {4: (0x7F000000, 0x7FFFFFFF), 6: (1, 1)}
NO_INTERFACE: Final = ""


def width_of(name: Field, family: int) -> int:
    """Return how many bits the numbers of a field have; interfaces have no numbers."""
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
        partitions: Partitions = MappingProxyType({}),
    ) -> None:
        """Number the variables.

        Args:
            family: 4 or 6.
            interfaces: Their names.
            local: The addresses that lead to the pod itself.
            fixed: Fields with one value in all packets; sets are smaller without their bits.
            partitions: Fields whose bits are the index of a range, not the number itself.
        """
        self.family, self.bdd = family, Bdd()
        if len(interfaces) > INTERFACE_LIMIT:
            raise TooComplexError(f"{len(interfaces)} interfaces are named")
        self.interfaces = (NO_INTERFACE, *interfaces)
        self._local, self._fixed, self._partitions = local, fixed, partitions
        self._free: dict[int, Free] = {}
        self._known: dict[int, tuple[Test, Bits, int]] = {}
        self._first: dict[Field, int] = {}
        self._symbols: dict[Field, Bits] = {}
        self._within: dict[tuple[Field, Bits, Intervals], int] = {}
        self._of_rules: dict[int, Intervals] = {}  # _known keeps the tests
        self._widths = {name: self._width(name) for name in Field}
        self._constants: dict[tuple[Field, int], Bits] = {}
        number = FREE_LIMIT
        for name in _ORDER:
            self._first[name] = number
            number += self.width(name)

    @property
    def free(self) -> tuple[Free, ...]:
        """The variables of tests that are not understood."""
        return tuple(self._free.values())

    def width(self, name: Field) -> int:
        """Return how many bits represent a field."""
        return self._widths[name]

    def _width(self, name: Field) -> int:
        if name in {Field.IN, Field.OUT}:
            return len(self.interfaces).bit_length()
        partition = self._partitions.get(name)
        return width_of(name, self.family) if partition is None else partition.width

    def variables(self, name: Field) -> range:
        """Return the variables of a field."""
        return range(self._first[name], self._first[name] + self.width(name))

    def symbol(self, name: Field) -> Bits:
        """Return a field as variables, so that it can have any value; as a constant if fixed."""
        found = self._symbols.get(name)
        if found is None and name in self._fixed:
            found = self._symbols[name] = self.constant(name, self._fixed[name])
        if found is None:
            found = self._symbols[name] = tuple(map(self.bdd.variable, self.variables(name)))
        return found

    def constant(self, name: Field, number: int) -> Bits:
        """Return a field with a fixed value; where it is divided, a value of the same range."""
        found = self._constants.get((name, number))
        if found is None:
            partition = self._partitions.get(name)
            index = number if partition is None else partition.index(number)
            found = self._constants[name, number] = constant(index, self._widths[name])
        return found

    def changed(self, name: Field, number: int) -> Bits:
        """Return a field with a value that can be compared with earlier ones.

        Raises:
            UndividedError: The number shares its range with others.
        """
        partition = self._partitions.get(name)
        if partition is not None and not partition.is_alone(number):
            raise UndividedError(f"the number {number} was not expected")
        return self.constant(name, number)

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
        for i in range(self.width(name)):
            number = number << 1 | example.get(first + i, False)
        partition = self._partitions.get(name)
        return number if partition is None else partition.lowest(number)

    def alike(self, name: Field, number: int) -> Intervals:
        """Return the numbers of a field that the packets do not tell from a number."""
        partition = self._partitions.get(name)
        return ((number, number) if partition is None else partition.around(number),)

    def within(self, name: Field, bits: Bits, intervals: Intervals) -> int:
        """Return the packets in which a field lies in one of the intervals.

        Args:
            name: The field.
            bits: Its value.
            intervals: Disjoint and ascending.

        Raises:
            UndividedError: The field is divided, and an interval contains a part of a range.
        """
        found = self._within.get((name, bits, intervals))
        if found is None:
            found = self._inside(bits, self._drawn(name, intervals))
            self._within[name, bits, intervals] = found
        return found

    def _drawn(self, name: Field, intervals: Intervals) -> Intervals:
        """Return intervals as a diagram has them: as indexes of ranges, where it divides a field.

        Raises:
            UndividedError: An interval contains a part of a range.
        """
        partition, top = self._partitions.get(name), (1 << self._widths[name]) - 1
        if partition is not None:
            return partition.indexes(intervals)
        if intervals and intervals[-1][1] > top:
            return tuple((low, min(high, top)) for low, high in intervals if low <= top)
        return intervals

    def _inside(self, bits: Bits, drawn: Intervals) -> int:
        number = _fixed(bits)
        if number is None:
            return self.bdd.within(bits, drawn)
        # A single packet, or a field that NAT wrote.
        return ALL if contains(drawn, number) else NONE

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
            if test.mask is not None and test.field in self._partitions:
                raise UndividedError(f"a mask of {test.field} was not expected")
            kept = bits if test.mask is None else _masked(bits, test.mask)
            drawn = self._of_rules.get(id(test))
            if drawn is None:
                drawn = self._of_rules[id(test)] = self._drawn(test.field, test.values)
            found = self._inside(kept, drawn)
        elif isinstance(test, Interface):
            found = self.within(test.field, bits, self._numbers(test.names))
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
        multicast = (MULTICAST[self.family],)
        broadcast = ((2**32 - 1, 2**32 - 1),) if self.family == 4 else ()
        special = joined([*self._local, *multicast, *broadcast])
        known = {
            "LOCAL": self._local,
            "MULTICAST": multicast,
            "BROADCAST": broadcast,
            "UNICAST": outside(special, width_of(test.field, self.family)),
        }
        found = NONE
        for kind in test.types:
            if kind in known:
                some = self.within(test.field, bits, known[kind])
                found = self.bdd.either(found, some)
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
