"""Convert iptables matches to tests.

An option is identified by its module and its name. An option that is not in the tables becomes an
:class:`Unknown` condition, never a wrong guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_fsmredir.rules import vocabulary
from pytest_fsmredir.rules.bdd import joined
from pytest_fsmredir.rules.forms import (
    TRUE,
    AddressType,
    AllOf,
    AnyOf,
    Field,
    Interface,
    Not,
    Number,
    Test,
    Unknown,
)
from pytest_fsmredir.rules.sets import IpSet, matching
from pytest_fsmredir.rules.vocabulary import integer, named, network, span

VARYING: Final = frozenset(
    {
        "connbytes", "connlimit", "cpu", "hashlimit", "limit", "nfacct", "quota", "rateest",
        "recent", "statistic", "time",
    }
)  # fmt: skip
"""Modules whose result can differ between two equal packets."""

WITH_PORTS: Final = frozenset({"tcp", "udp", "udplite", "sctp", "dccp"})
_HIGHEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """The context that a match is read in."""

    family: int
    sets: Mapping[str, IpSet]


Read = Callable[[Sequence[str], Setting], Test]
"""Converts the values of an option to a test; raises ValueError for wrong values."""


def _ports(name: Field, separator: str = ":") -> Read:
    return lambda values, _: Number(name, (span(values[0], separator, 65535),))


def _numbers(name: Field, separator: str = ":", most: int = _HIGHEST) -> Read:
    return lambda values, _: Number(name, (span(values[0], separator, most),))


def _many_ports(*names: Field) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        spans = joined(span(part, ":", 65535) for part in values[0].split(","))
        tests = tuple(Number(name, spans) for name in names)
        return tests[0] if len(tests) == 1 else AnyOf(tests)

    return read


def _owner(name: Field) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        owned = Number(Field.HAS_SOCKET, ((1, 1),))
        return AllOf((owned, Number(name, (span(values[0], "-", _HIGHEST),))))

    return read


def _mark(name: Field, most: int = _HIGHEST) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        value, _slash, mask = values[0].partition("/")
        bits = integer(mask) if mask else most
        number = integer(value)
        if number > most or bits > most:
            raise ValueError(f"{values[0]!r} is more than {most}")
        return Number(name, ((number, number),), bits)

    return read


def _addresses(name: Field) -> Read:
    def read(values: Sequence[str], setting: Setting) -> Test:
        spans, mask = network(values[0], setting.family)
        return Number(name, spans, mask)

    return read


def _address_range(name: Field) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        low, dash, high = values[0].partition("-")
        first = vocabulary.address(low)
        return Number(name, ((first, vocabulary.address(high) if dash else first),))

    return read


def _states(values: Sequence[str], _: Setting) -> Test:
    tests: list[Test] = []
    for name in values[0].lower().split(","):
        if name == "dnat":
            tests.append(Number(Field.TRANSLATED, ((1, 1),)))
        elif name == "snat":
            tests.append(Unknown("--ctstate SNAT"))
        else:
            state = named(name, vocabulary.STATES)
            tests.append(Number(Field.STATE, ((state, state),)))
    return AnyOf(tuple(tests))


def _direction(values: Sequence[str], _: Setting) -> Test:
    reply = named(values[0], {"original": 0, "reply": 1})
    return Number(Field.REPLY, ((reply, reply),))


def _protocol(values: Sequence[str], _: Setting) -> Test:
    number = named("ip" if values[0].lower() == "all" else values[0], vocabulary.PROTOCOLS)
    if number == 0:
        return TRUE
    return Number(Field.PROTOCOL, ((number, number),))


def _interface(name: Field) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        pattern = values[0]
        return Interface(name, (pattern[:-1] + "*" if pattern.endswith("+") else pattern,))

    return read


def _flags(values: Sequence[str], _: Setting) -> Test:
    mask, wanted = (
        sum({named(flag, vocabulary.TCP_FLAGS) for flag in part.split(",")}) for part in values[:2]
    )
    return Number(Field.TCP_FLAGS, ((wanted, wanted),), mask)


def _compared(name: Field, operator: str) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        number = integer(values[0])
        spans = {"eq": (number, number), "lt": (0, number - 1), "gt": (number + 1, 255)}
        return Number(name, joined([spans[operator]]))

    return read


def _dscp(values: Sequence[str], _: Setting) -> Test:
    code = named(values[0], vocabulary.DSCP)
    return Number(Field.TOS, ((code << 2, code << 2),), 0xFC)


def _constant(name: Field, value: int, mask: int | None = None) -> Read:
    return lambda _values, _setting: Number(name, ((value, value),), mask)


def _ect(values: Sequence[str], _: Setting) -> Test:
    code = integer(values[0])
    return Number(Field.TOS, ((code, code),), 3)


def _icmp(names: Mapping[str, int]) -> Read:
    def read(values: Sequence[str], _: Setting) -> Test:
        kind, slash, code = values[0].partition("/")
        if kind == "any" or kind == "255":
            return TRUE
        number = named(kind, names)
        tests: list[Test] = [Number(Field.ICMP_TYPE, ((number, number),))]
        if slash:
            tests.append(Number(Field.ICMP_CODE, (span(code, ":", 255),)))
        return AllOf(tuple(tests))

    return read


def _types(name: Field) -> Read:
    return lambda values, _: AddressType(name, tuple(values[0].upper().split(",")))


def _link_type(values: Sequence[str], _: Setting) -> Test:
    number = named(values[0], vocabulary.LINK_TYPES)
    return Number(Field.LINK_TYPE, ((number, number),))


def _set(values: Sequence[str], setting: Setting) -> Test:
    words = f"--match-set {values[0]} {values[1]}"
    return matching(setting.sets, values[0], values[1].split(","), words)


def _socket(_values: Sequence[str], _: Setting) -> Test:
    # The first packet of a connection matches if the application listens on the very address, and
    # not if it listens on all of them (net/netfilter/xt_socket.c, "wildcard").
    return Unknown("-m socket")


def _transparent(_values: Sequence[str], _: Setting) -> Test:
    # An application cannot listen on a transparent socket: that takes NET_ADMIN (IP_TRANSPARENT).
    return Not(Number(Field.STATE, ((vocabulary.NEW, vocabulary.NEW),)))


@dataclass(frozen=True, slots=True)
class Option:
    """One option: the number of its values and how to read them; None adds no condition."""

    values: int
    read: Read | None


def _option(read: Read | None, values: int = 1) -> Option:
    return Option(values, read)


BASE: Final[Mapping[str, Option]] = {
    "-p": _option(_protocol),
    "-s": _option(_addresses(Field.SOURCE)),
    "-d": _option(_addresses(Field.DESTINATION)),
    "-i": _option(_interface(Field.IN)),
    "-o": _option(_interface(Field.OUT)),
    "-f": _option(_constant(Field.FRAGMENT, 1), 0),
    "-4": _option(None, 0),
    "-6": _option(None, 0),
}
LONG: Final[Mapping[str, str]] = {
    "--protocol": "-p", "--proto": "-p", "--source": "-s", "--src": "-s", "--destination": "-d",
    "--dst": "-d", "--in-interface": "-i", "--out-interface": "-o", "--fragment": "-f",
    "--jump": "-j", "--goto": "-g", "--match": "-m", "--set-counters": "-c",
}  # fmt: skip

_SPORT, _DPORT = _option(_ports(Field.SOURCE_PORT)), _option(_ports(Field.PORT))
_TRANSPORT: Mapping[str, Option] = {
    "--sport": _SPORT, "--source-port": _SPORT, "--dport": _DPORT, "--destination-port": _DPORT,
}  # fmt: skip
_SPORTS, _DPORTS = _option(_many_ports(Field.SOURCE_PORT)), _option(_many_ports(Field.PORT))

MODULES: Final[Mapping[str, Mapping[str, Option]]] = {
    "tcp": {
        **_TRANSPORT,
        "--tcp-flags": _option(_flags, 2),
        "--syn": _option(_constant(Field.TCP_FLAGS, 2, 0x17), 0),
    },
    "udp": _TRANSPORT,
    "udplite": _TRANSPORT,
    "sctp": _TRANSPORT,
    "dccp": _TRANSPORT,
    "multiport": {
        "--sports": _SPORTS, "--source-ports": _SPORTS, "--dports": _DPORTS,
        "--destination-ports": _DPORTS,
        "--ports": _option(_many_ports(Field.SOURCE_PORT, Field.PORT)),
    },
    "owner": {
        "--uid-owner": _option(_owner(Field.UID)),
        "--gid-owner": _option(_owner(Field.GID)),
        "--socket-exists": _option(_constant(Field.HAS_SOCKET, 1), 0),
    },
    "mark": {"--mark": _option(_mark(Field.MARK))},
    "connmark": {"--mark": _option(_mark(Field.CONNECTION_MARK))},
    "state": {"--state": _option(_states)},
    "conntrack": {
        "--ctstate": _option(_states),
        "--ctproto": _option(_protocol),
        "--ctdir": _option(_direction),
        "--ctorigsrc": _option(_addresses(Field.FIRST_SOURCE)),
        "--ctorigdst": _option(_addresses(Field.FIRST_DESTINATION)),
        "--ctorigsrcport": _option(_ports(Field.FIRST_SOURCE_PORT)),
        "--ctorigdstport": _option(_ports(Field.FIRST_PORT)),
    },
    "iprange": {
        "--src-range": _option(_address_range(Field.SOURCE)),
        "--dst-range": _option(_address_range(Field.DESTINATION)),
    },
    "ttl": {f"--ttl-{op}": _option(_compared(Field.TTL, op)) for op in ("eq", "lt", "gt")},
    "hl": {f"--hl-{op}": _option(_compared(Field.TTL, op)) for op in ("eq", "lt", "gt")},
    "tos": {"--tos": _option(_mark(Field.TOS, 255))},
    "dscp": {"--dscp": _option(_dscp), "--dscp-class": _option(_dscp)},
    "ecn": {
        "--ecn-tcp-ece": _option(_constant(Field.TCP_FLAGS, 64, 64), 0),
        "--ecn-tcp-cwr": _option(_constant(Field.TCP_FLAGS, 128, 128), 0),
        "--ecn-ip-ect": _option(_ect),
    },
    "length": {"--length": _option(_numbers(Field.LENGTH, most=65535))},
    "icmp": {"--icmp-type": _option(_icmp(vocabulary.ICMP_TYPES))},
    "icmp6": {"--icmpv6-type": _option(_icmp(vocabulary.ICMPV6_TYPES))},
    "addrtype": {
        "--src-type": _option(_types(Field.SOURCE)),
        "--dst-type": _option(_types(Field.DESTINATION)),
    },
    "pkttype": {"--pkt-type": _option(_link_type)},
    "set": {"--match-set": _option(_set, 2)},
    "socket": {
        "--transparent": _option(_transparent, 0),
        "--nowildcard": _option(lambda _values, _setting: Unknown("-m socket --nowildcard"), 0),
        "--restore-skmark": _option(
            lambda _values, _setting: Unknown("-m socket --restore-skmark"), 0
        ),
    },
    "comment": {"--comment": _option(None)},
}  # fmt: skip

WHOLE: Final[Mapping[str, Read]] = {"socket": _socket}
"""Tests that a module adds by itself, regardless of its options."""
