"""Words for rules, conditions and places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import Final

from pytest_fsmredir.rules.bdd import Intervals
from pytest_fsmredir.rules.forms import (
    TRUE,
    Accept,
    Action,
    Chain,
    Condition,
    Destination,
    Drop,
    Field,
    Goto,
    Interface,
    Jump,
    Kind,
    Not,
    Number,
    Redirect,
    Reject,
    Return,
    Rule,
    Test,
    Tproxy,
)
from pytest_fsmredir.rules.packet import ATTRIBUTES, Packet, protocol_name, text_of
from pytest_fsmredir.rules.ruleset import parts
from pytest_fsmredir.rules.vocabulary import STATES

_NAMES: Final = {
    Field.PROTOCOL: "protocol", Field.SOURCE: "source", Field.DESTINATION: "destination",
    Field.SOURCE_PORT: "sport", Field.PORT: "dport", Field.UID: "uid", Field.GID: "gid",
    Field.MARK: "mark", Field.IN: "in", Field.OUT: "out", Field.STATE: "state", Field.TTL: "ttl",
    Field.TOS: "tos", Field.LENGTH: "length",
}  # fmt: skip
_IN_FULL: Final = {
    **_NAMES, Field.IN: "incoming interface", Field.OUT: "outgoing interface",
}  # fmt: skip
_ADDRESSES: Final = frozenset({Field.SOURCE, Field.DESTINATION})
_MANY: Final = 3  # intervals of a list to show


def label(chain: Chain) -> str:
    """Return the name of a chain, with its table if that is not the NAT table."""
    return (
        chain.name
        if chain.kind is Kind.NAT or chain.table == "nat"
        else f"{chain.table} {chain.name}"
    )


def place(chain: Chain, rule: Rule) -> str:
    """Return the words for a rule in its chain."""
    return f"rule #{rule.number} of {label(chain)}"


def listed(items: Sequence[str]) -> str:
    """Return some words as a list in a sentence."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def leaves(test: Test, *, negated: bool = False) -> Iterator[tuple[Number | Interface, bool]]:
    """Yield the comparisons of a test, each with whether it is negated."""
    if isinstance(test, Not):
        yield from leaves(test.test, negated=not negated)
    elif isinstance(test, (Number, Interface)):
        if test.field is not Field.HAS_SOCKET:
            yield test, negated
    else:
        for part in getattr(test, "tests", ()):
            yield from leaves(part, negated=negated)


def mentions(rule: Rule, *fields: Field) -> bool:
    """Whether a rule compares one of some fields."""
    return any(
        getattr(part, "field", None) in fields
        for condition in rule.conditions
        for part in parts(condition.test)
    )


def unmet(condition: Condition, packet: Packet) -> str:
    """Return why a condition does not hold for a packet, such as ``uid 1000, not 1500``."""
    for test, negated in leaves(condition.test):
        name = _NAMES.get(test.field)
        if name is None:
            continue
        own = _own(test, packet)
        if own is None:
            return f"{name} not {_values(test, packet.family)}"
        if negated:
            return f"{name} is {own}"
        values = _values(test, packet.family)
        single = isinstance(test, Interface) or _is_one(test.values)
        return f"{name} {own}, not {values}" if single else f"{name} {own} not in {values}"
    text = condition.text
    return text.removeprefix("! ") if text.startswith("! ") else f"not {text}"


def matched(rule: Rule, family: int, *, without: Iterable[Field] = ()) -> str:
    """Return what a rule matches, in words; empty if it matches everything.

    Args:
        rule: The rule.
        family: IP version of its addresses.
        without: Fields to leave out.
    """
    left_out = {*without}
    found: list[str] = []
    for condition in rule.conditions:
        tests = [(t, n) for t, n in leaves(condition.test) if t.field in _NAMES]
        if not tests and condition.test != TRUE:
            found.append(condition.text)
        for test, negated in tests:
            if test.field not in left_out:
                no = "not " if negated else ""
                found.append(f"{_IN_FULL[test.field]} {no}{_values(test, family)}")
    return listed(found)


def effect(actions: Iterable[Action], family: int) -> str:
    """Return what the actions of a rule do, in one word.

    Args:
        actions: The actions.
        family: IP version of addresses.
    """
    for action in actions:
        match action:
            case Jump(chain) | Goto(chain):
                return chain
            case Redirect(port):
                return str(port or "the same port")
            case Destination(address, port):
                return _target(address, port, family)
            case Tproxy(port, _):
                return f"TPROXY {port or ''}".strip()
            case Drop() | Reject():
                return "DROP" if isinstance(action, Drop) else "REJECT"
            case Return() | Accept():
                return "RETURN" if isinstance(action, Return) else "ACCEPT"
    return type(next(iter(actions), None)).__name__.lower() if actions else "nothing"


def _target(address: int | None, port: int | None, family: int) -> str:
    host = "another address" if address is None else text_of(address, family)
    return f"{host}, port {port}" if port else host


def span_words(name: Field, values: Intervals, family: int) -> str:
    """Return intervals of a field as words; long lists are cut."""
    words = [text for low, high in values for text in _span(name, low, high, family)]
    if len(words) > _MANY + 1:
        words = [*words[:_MANY], f"… ({len(words)} in all)"]
    return ",".join(words)


def _span(name: Field, low: int, high: int, family: int) -> Iterator[str]:
    if name in _ADDRESSES:
        make: Callable[[int], IPv4Address | IPv6Address]
        make = IPv4Address if family == 4 else IPv6Address
        yield from (str(network) for network in summarize_address_range(make(low), make(high)))
    elif name is Field.PROTOCOL and low == high:
        yield _protocol(low)
    elif name is Field.STATE:
        yield next((text for text, bit in STATES.items() if bit == low), str(low)).upper()
    else:
        yield str(low) if low == high else f"{low}…{high}"


def _values(test: Number | Interface, family: int) -> str:
    if isinstance(test, Interface):
        return ",".join(test.names)
    return span_words(test.field, test.values, family)


def _own(test: Number | Interface, packet: Packet) -> str | None:
    if isinstance(test, Interface):
        wanted = Field.OUT if packet.direction.value == "outbound" else Field.IN
        return packet.interface if test.field is wanted else None
    if test.field not in ATTRIBUTES:
        return None
    number = int(getattr(packet, ATTRIBUTES[test.field]))
    if test.field in _ADDRESSES:
        return text_of(number, packet.family)
    return _protocol(number) if test.field is Field.PROTOCOL else str(number)


def _protocol(number: int) -> str:
    return protocol_name(number).removeprefix("protocol ")


def _is_one(values: Intervals) -> bool:
    return len(values) == 1 and values[0][0] == values[0][1]
