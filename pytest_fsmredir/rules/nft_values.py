"""Convert values and expressions of ``nft -j`` from JSON to fields, numbers and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_fsmredir.rules import vocabulary
from pytest_fsmredir.rules.bdd import Intervals, joined, outside
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
from pytest_fsmredir.rules.vocabulary import address, named

Json = Any
"""A value as :mod:`json` parses it."""

_TCP, _ICMP, _ICMPV6 = ((6, 6),), ((1, 1),), ((58, 58),)


@dataclass(frozen=True, slots=True)
class Left:
    """The field that an expression reads.

    Attributes:
        field: The field.
        mask: The bits that are compared, or None for all.
        shift: The number of bits that the expression shifts the field's value to the right.
        first: Tests that must hold for the expression to have a value.
    """

    field: Field
    mask: int | None = None
    shift: int = 0
    first: tuple[Test, ...] = ()


class NotUnderstoodError(Exception):
    """An expression has no counterpart in the model."""


def _is(name: Field, spans: Intervals) -> tuple[Test, ...]:
    return (Number(name, spans),)


_V4, _V6 = _is(Field.FAMILY, ((4, 4),)), _is(Field.FAMILY, ((6, 6),))
_OWNED = _is(Field.HAS_SOCKET, ((1, 1),))


def _ports(protocol: str) -> dict[tuple[str, str], Left]:
    number = vocabulary.PROTOCOLS.get(protocol)
    first = _is(Field.PROTOCOL, ((number, number),)) if number else ()
    return {
        (protocol, "sport"): Left(Field.SOURCE_PORT, first=first),
        (protocol, "dport"): Left(Field.PORT, first=first),
    }


_PAYLOAD: Final[Mapping[tuple[str, str], Left]] = {
    **_ports("tcp"), **_ports("udp"), **_ports("sctp"), **_ports("dccp"), **_ports("udplite"),
    **_ports("th"),
    ("tcp", "flags"): Left(Field.TCP_FLAGS, first=_is(Field.PROTOCOL, _TCP)),
    ("ip", "saddr"): Left(Field.SOURCE, first=_V4),
    ("ip", "daddr"): Left(Field.DESTINATION, first=_V4),
    ("ip", "protocol"): Left(Field.PROTOCOL, first=_V4),
    ("ip", "ttl"): Left(Field.TTL, first=_V4),
    ("ip", "length"): Left(Field.LENGTH, first=_V4),
    ("ip", "dscp"): Left(Field.TOS, 0xFC, 2, _V4),
    ("ip", "ecn"): Left(Field.TOS, 3, first=_V4),
    ("ip6", "saddr"): Left(Field.SOURCE, first=_V6),
    ("ip6", "daddr"): Left(Field.DESTINATION, first=_V6),
    ("ip6", "nexthdr"): Left(Field.PROTOCOL, first=_V6),
    ("ip6", "hoplimit"): Left(Field.TTL, first=_V6),
    ("ip6", "dscp"): Left(Field.TOS, 0xFC, 2, _V6),
    ("ip6", "ecn"): Left(Field.TOS, 3, first=_V6),
    ("icmp", "type"): Left(Field.ICMP_TYPE, first=_is(Field.PROTOCOL, _ICMP)),
    ("icmp", "code"): Left(Field.ICMP_CODE, first=_is(Field.PROTOCOL, _ICMP)),
    ("icmpv6", "type"): Left(Field.ICMP_TYPE, first=_is(Field.PROTOCOL, _ICMPV6)),
    ("icmpv6", "code"): Left(Field.ICMP_CODE, first=_is(Field.PROTOCOL, _ICMPV6)),
}  # fmt: skip
_META: Final[Mapping[str, Left]] = {
    "l4proto": Left(Field.PROTOCOL),
    "nfproto": Left(Field.FAMILY),
    "protocol": Left(Field.FAMILY),
    "mark": Left(Field.MARK),
    "skuid": Left(Field.UID, first=_OWNED),
    "skgid": Left(Field.GID, first=_OWNED),
    "iif": Left(Field.IN),
    "iifname": Left(Field.IN),
    "oif": Left(Field.OUT),
    "oifname": Left(Field.OUT),
    "pkttype": Left(Field.LINK_TYPE),
    "length": Left(Field.LENGTH),
}
_CT: Final[Mapping[tuple[str, str], Left]] = {
    ("state", ""): Left(Field.STATE),
    ("mark", ""): Left(Field.CONNECTION_MARK),
    ("direction", ""): Left(Field.REPLY),
    ("ip daddr", "original"): Left(Field.FIRST_DESTINATION, first=_V4),
    ("ip6 daddr", "original"): Left(Field.FIRST_DESTINATION, first=_V6),
    ("ip saddr", "original"): Left(Field.FIRST_SOURCE, first=_V4),
    ("ip6 saddr", "original"): Left(Field.FIRST_SOURCE, first=_V6),
    ("proto-dst", "original"): Left(Field.FIRST_PORT),
    ("proto-src", "original"): Left(Field.FIRST_SOURCE_PORT),
}
_NAMES: Final[Mapping[Field, Mapping[str, int]]] = {
    Field.PROTOCOL: vocabulary.PROTOCOLS,
    Field.FIRST_PORT: {},
    Field.STATE: vocabulary.STATES,
    Field.TCP_FLAGS: vocabulary.TCP_FLAGS,
    Field.LINK_TYPE: vocabulary.LINK_TYPES,
    Field.FAMILY: {"ipv4": 4, "ipv6": 6, "ip": 4, "ip6": 6},
    Field.REPLY: {"original": 0, "reply": 1},
    Field.TOS: {**vocabulary.DSCP, **vocabulary.ECN},
}
_ICMP_NAMES: Final[Mapping[tuple[str, str], Mapping[str, int]]] = {
    ("icmp", "type"): vocabulary.ICMP_TYPES,
    ("icmp", "code"): vocabulary.ICMP_CODES,
    ("icmpv6", "type"): vocabulary.ICMPV6_TYPES,
    ("icmpv6", "code"): vocabulary.ICMPV6_CODES,
}
ADDRESSES: Final = frozenset(
    {Field.SOURCE, Field.DESTINATION, Field.FIRST_SOURCE, Field.FIRST_DESTINATION}
)
FLAGS: Final = frozenset({Field.STATE, Field.TCP_FLAGS})
"""Fields for which nft matches any bit of a list of names without an operator."""

WIDTHS: Final[Mapping[Field, int]] = {
    Field.PROTOCOL: 8, Field.SOURCE_PORT: 16, Field.PORT: 16, Field.UID: 32, Field.GID: 32,
    Field.HAS_SOCKET: 1, Field.MARK: 32, Field.CONNECTION_MARK: 32, Field.STATE: 8, Field.TOS: 8,
    Field.TTL: 8, Field.LENGTH: 16, Field.TCP_FLAGS: 8, Field.ICMP_TYPE: 8, Field.ICMP_CODE: 8,
    Field.FRAGMENT: 1, Field.LINK_TYPE: 3, Field.REPLY: 1, Field.TRANSLATED: 1, Field.FAMILY: 4,
    Field.TPROXY_PORT: 16, Field.FIRST_SOURCE_PORT: 16, Field.FIRST_PORT: 16,
}  # fmt: skip
"""Width in bits of each field, except addresses (32 or 128) and interfaces."""


def left_of(expression: Json) -> Left:
    """Return the field that an expression reads.

    Raises:
        NotUnderstoodError: The model has no such field.
    """
    match expression:
        case {"payload": {"protocol": str(protocol), "field": str(name)}}:
            found = _PAYLOAD.get((protocol, name))
        case {"meta": {"key": str(key)}}:
            found = _META.get(key)
        case {"ct": {"key": str(key), **rest}}:
            found = _CT.get((key, str(rest.get("dir", ""))))
        case {"&": [inner, mask]}:
            return _masked(left_of(inner), mask)
        case _:
            found = None
    if found is None:
        raise NotUnderstoodError
    return found


def _masked(inner: Left, mask: Json) -> Left:
    bits = number(inner.field, mask) << inner.shift
    kept = bits if inner.mask is None else inner.mask & bits
    return Left(inner.field, kept, inner.shift, inner.first)


def number(name: Field, value: Json) -> int:
    """Return a single value of a field as a number.

    Raises:
        NotUnderstoodError: It is not a number of that field.
    """
    match value:
        case bool():
            return int(value)
        case int():
            return value
        case str() if name in ADDRESSES:
            return address(value)
        case str():
            return _known(value, _NAMES.get(name, {}))
        case {"|": list(values)} | list(values):
            return sum({number(name, part) for part in values})
        case _:
            raise NotUnderstoodError


def spans(name: Field, value: Json) -> list[tuple[int, int]]:
    """Return a value, a prefix, a range or a list of them as intervals.

    Raises:
        NotUnderstoodError: It is none of these.
    """
    match value:
        case {"set": list(values)}:
            return [span for part in values for span in spans(name, part)]
        case {"prefix": {"addr": str(base), "len": int(length)}}:
            width = 128 if ":" in base else 32
            low = address(base) >> (width - length) << (width - length)
            return [(low, low + (1 << (width - length)) - 1)]
        case {"prefix": {"addr": int(base), "len": int(length)}} if name in WIDTHS:
            size = 1 << (WIDTHS[name] - length)
            return [(base & -size, (base & -size) + size - 1)]
        case {"range": [low, high]}:
            return [(number(name, low), number(name, high))]
        case {"elem": {"val": inner, **rest}}:
            if "timeout" in rest or "expires" in rest:
                raise NotUnderstoodError
            return spans(name, inner)
        case _:
            single = number(name, value)
            return [(single, single)]


def _known(name: str, names: Mapping[str, int]) -> int:
    """Return the number of a name, which nft may know and the model not.

    Raises:
        NotUnderstoodError: The model has no such name.
    """
    try:
        return named(name, names)
    except ValueError:
        raise NotUnderstoodError from None


def icmp_number(expression: Json, value: Json) -> Json:
    """Return an ICMP type or code with names replaced by numbers."""
    match expression:
        case {"payload": {"protocol": str(protocol), "field": str(name)}}:
            names = _ICMP_NAMES.get((protocol, name))
        case _:
            names = None
    return value if names is None else _numbered(value, names)


def _numbered(value: Json, names: Mapping[str, int]) -> Json:
    match value:
        case str(name):
            return _known(name, names)
        case {"set": list(values)}:
            return {"set": [_numbered(part, names) for part in values]}
        case {"range": list(values)}:
            return {"range": [_numbered(part, names) for part in values]}
        case _:
            return value


def matched(expression: Json, operator: str, right: Json, words: str) -> Test:
    """Return the test of one match; an :class:`Unknown` if the model does not understand it.

    Args:
        expression: The left side.
        operator: ``==``, ``!=``, ``<``, ``>``, ``<=``, ``>=`` or ``in``.
        right: The right side, with named sets replaced by their elements.
        words: The match as text.

    Raises:
        ValueError: A value is malformed.
    """
    try:
        if "concat" in expression:
            return _concatenated(expression["concat"], operator, right)
        if "fib" in expression:
            return _routed(expression["fib"], operator, right)
        return _compared(left_of(expression), operator, icmp_number(expression, right))
    except NotUnderstoodError:
        return Unknown(words, varies="numgen" in expression)


def _routed(fib: Json, operator: str, right: Json) -> Test:
    flags = fib.get("flags", [])
    flags = [flags] if isinstance(flags, str) else flags
    names = {"daddr": Field.DESTINATION, "saddr": Field.SOURCE}
    if fib.get("result") != "type" or len(flags) != 1 or flags[0] not in names:
        raise NotUnderstoodError
    kinds = right["set"] if isinstance(right, dict) and "set" in right else [right]
    if operator not in {"==", "!=", "in"} or not all(isinstance(kind, str) for kind in kinds):
        raise NotUnderstoodError
    test = AddressType(names[flags[0]], tuple(kind.upper() for kind in kinds))
    return Not(test) if operator == "!=" else test


def _concatenated(parts: Json, operator: str, right: Json) -> Test:
    rows = right["set"] if isinstance(right, dict) and "set" in right else [right]
    tests = []
    for row in rows:
        if isinstance(row, dict) and "elem" in row:
            row = row["elem"]["val"]
        if not isinstance(row, dict) or len(row.get("concat", ())) != len(parts):
            raise NotUnderstoodError
        pairs = zip(parts, row["concat"], strict=True)
        tests.append(AllOf(tuple(_compared(left_of(p), "==", icmp_number(p, v)) for p, v in pairs)))
    if operator not in {"==", "!=", "in"}:
        raise NotUnderstoodError
    firsts = tuple(test for part in parts for test in left_of(part).first)
    test = AnyOf(tuple(tests))
    return AllOf((*firsts, Not(test) if operator == "!=" else test))


def _compared(left: Left, operator: str, right: Json) -> Test:
    if left.field in {Field.IN, Field.OUT}:
        return _interfaces(left, operator, right)
    if isinstance(right, dict) and ("payload" in right or "meta" in right or "ct" in right):
        other = left_of(right)
        if left.mask is not None or other.mask is not None:
            raise NotUnderstoodError
        same: Test = Equal(left.field, other.field)
        return AllOf((*left.first, *other.first, Not(same) if operator == "!=" else same))
    if left.field in FLAGS and (operator == "in" or (isinstance(right, list) and not left.mask)):
        return _any_bit(left, operator, right)
    test: Test = Number(left.field, _shifted(left, operator, right), left.mask)
    return AllOf((*left.first, Not(test) if operator == "!=" else test))


def _any_bit(left: Left, operator: str, right: Json) -> Test:
    values = right["set"] if isinstance(right, dict) and "set" in right else right
    values = values if isinstance(values, list) else [values]
    bits = sum({number(left.field, value) for value in values})
    none = Number(left.field, ((0, 0),), bits if left.mask is None else bits & left.mask)
    return AllOf((*left.first, none if operator == "!=" else Not(none)))


def _shifted(left: Left, operator: str, right: Json) -> Intervals:
    found = joined(spans(left.field, right))
    if operator in {"<", ">", "<=", ">="}:
        found = _ordered(operator, found[0][0], left)
    step = left.shift
    return joined((low << step, (high << step) | ((1 << step) - 1)) for low, high in found)


def _ordered(operator: str, value: int, left: Left) -> Intervals:
    width = 128 if left.field in ADDRESSES else WIDTHS[left.field] - left.shift
    at_most = ((0, value),)
    below = ((0, value - 1),) if value else ()
    return {
        "<": below,
        "<=": at_most,
        ">": outside(at_most, width),
        ">=": outside(below, width),
    }[operator]


def _interfaces(left: Left, operator: str, right: Json) -> Test:
    values = right["set"] if isinstance(right, dict) and "set" in right else [right]
    if not all(isinstance(value, str) for value in values) or operator not in {"==", "!=", "in"}:
        raise NotUnderstoodError
    test: Test = Interface(left.field, tuple(values))
    return Not(test) if operator == "!=" else test
