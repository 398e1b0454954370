"""Read the named sets of ``ipset save``, and build the tests that match them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_fsmredir.rules.bdd import joined
from pytest_fsmredir.rules.forms import TRUE, AllOf, AnyOf, Field, Interface, Number, Test, Unknown
from pytest_fsmredir.rules.lexer import fault
from pytest_fsmredir.rules.vocabulary import PROTOCOLS, address, named, network, span

_ADDRESS = {"src": Field.SOURCE, "dst": Field.DESTINATION}
_PORT = {"src": Field.SOURCE_PORT, "dst": Field.PORT}
_DEVICE = {"src": Field.IN, "dst": Field.OUT}
_WITH_PORTS = ((6, 6), (17, 17), (132, 132), (136, 136))
_DEEPEST = 8


@dataclass(slots=True)
class IpSet:
    """One named set.

    Attributes:
        dimensions: The parts of a member, such as ``("net", "port")``.
        method: ``hash``, ``bitmap`` or ``list``.
        family: IP version of its addresses.
        members: As written.
        unclear: Why the listing does not determine membership; empty if it does.
    """

    method: str
    dimensions: tuple[str, ...]
    family: int
    members: list[str] = field(default_factory=list)
    unclear: str = ""


def read_sets(lines: Sequence[tuple[int, str]]) -> dict[str, IpSet]:
    """Return the sets in numbered lines of ``ipset save``.

    Raises:
        RulesError: A line is not from ``ipset save``; the message names it.
    """
    found: dict[str, IpSet] = {}
    for number, line in lines:
        match line.split():
            case ["create", name, kind, *options]:
                found[name] = _created(kind, options)
            case ["add", name, member, *options] if name in found:
                found[name].members.append(f"{member}*" if "wildcard" in options else member)
                if "nomatch" in options:
                    found[name].unclear = "it has members that are exceptions"
                if "timeout" in options:
                    found[name].unclear = "its members time out"
            case [] | ["#", *_]:
                pass
            case _:
                raise fault(number, "this is not a line of ipset save", line)
    return found


def matching(
    sets: Mapping[str, IpSet], name: str, directions: Sequence[str], words: str, depth: int = 0
) -> Test:
    """Return the test that a packet is in a set.

    Args:
        sets: Every set.
        name: The name of the set to match.
        directions: ``src`` or ``dst`` for each dimension.
        words: The text of the condition, for parts that are not understood.
        depth: The number of enclosing sets of sets.

    Raises:
        ValueError: A member is malformed.
    """
    found = sets.get(name)
    if found is None or depth > _DEEPEST:
        return Unknown(f"{words} (the set {name} was not read)")
    if found.unclear:
        return Unknown(f"{words} ({found.unclear})", varies=True)
    if found.method == "list":
        return AnyOf(tuple(matching(sets, m, directions, words, depth + 1) for m in found.members))
    if len(directions) < len(found.dimensions):
        return Unknown(words)
    rows = [_member(found, member, directions) for member in found.members]
    if any(row is None for row in rows):
        return Unknown(f"{words} (a set of type {found.method}:{','.join(found.dimensions)})")
    return AnyOf(tuple(_merged([row for row in rows if row is not None])))


def _created(kind: str, options: Sequence[str]) -> IpSet:
    method, _, dimensions = kind.partition(":")
    made = IpSet(method, tuple(dimensions.split(",")), 6 if "inet6" in options else 4)
    if "timeout" in options:
        made.unclear = "its members time out"
    if {"netmask", "bitmask"} & set(options):
        made.unclear = "a member stands for a network"
    return made


def _member(of: IpSet, member: str, directions: Sequence[str]) -> tuple[Test, ...] | None:
    tests: list[Test] = []
    for dimension, part, direction in zip(
        of.dimensions, member.split(","), directions, strict=False
    ):
        test = _part(of, dimension, part, direction)
        if test is None:
            return None
        tests.append(test)
    return tuple(tests)


def _part(of: IpSet, dimension: str, part: str, direction: str) -> Test | None:
    if dimension in {"ip", "net"}:
        low, dash, high = part.partition("-")
        if dash:
            return Number(_ADDRESS[direction], ((address(low), address(high)),))
        return Number(_ADDRESS[direction], network(part, of.family)[0])
    if dimension == "port":
        protocol, colon, port = part.rpartition(":")
        by_protocol = ((number := named(protocol, PROTOCOLS)), number) if colon else None
        if by_protocol is None and of.method == "hash":
            by_protocol = (6, 6)
        ports = Number(_PORT[direction], (span(port, "-", 65535),))
        protocols = (by_protocol,) if by_protocol else _WITH_PORTS
        return AllOf((Number(Field.PROTOCOL, protocols), ports))
    if dimension == "iface":
        return Interface(_DEVICE[direction], (part,))
    return None


def _merged(rows: list[tuple[Test, ...]]) -> Iterator[Test]:
    """Join all members of one dimension into one test."""
    numbers: dict[tuple[Field, Test], list[tuple[int, int]]] = {}
    for row in rows:
        match row:
            case (Number(name, values, None),):
                numbers.setdefault((name, TRUE), []).extend(values)
            case (AllOf((Number() as protocols, Number(name, values, None))),):
                numbers.setdefault((name, protocols), []).extend(values)
            case _:
                yield AllOf(row)
    for (name, condition), spans in numbers.items():
        yield AllOf((condition, Number(name, joined(spans))))
