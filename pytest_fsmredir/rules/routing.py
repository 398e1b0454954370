"""Read ``ip rule``, ``ip route show table all`` and kernel settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Final

from pytest_fsmredir.rules.forms import TRUE, AllOf, Field, Interface, Not, Number, Test, Unknown
from pytest_fsmredir.rules.lexer import fault
from pytest_fsmredir.rules.ruleset import PolicyRule, Route, Routing
from pytest_fsmredir.rules.vocabulary import PROTOCOLS, integer, named, network, span

_KINDS: Final = frozenset(
    {
        "anycast", "blackhole", "broadcast", "local", "multicast", "nat", "prohibit", "throw",
        "unicast", "unreachable",
    }
)  # fmt: skip
_RULE = re.compile(r"(\d+):\s+(not )?\s*(.*)")
_TABLES: Final = {"255": "local", "254": "main", "253": "default"}
_ALL = 2**32 - 1


def is_rule(line: str) -> bool:
    """Whether a line is from ``ip rule``."""
    return re.match(r"\d+:\s+(not |from )", line) is not None


def policy_rule(number: int, line: str, family: int) -> PolicyRule:
    """Parse one line of ``ip rule``.

    Raises:
        RulesError: It is not one; the message names the line.
    """
    found = _RULE.fullmatch(line.strip())
    if found is None:
        raise fault(number, "this is not a line of ip rule", line)
    try:
        tests, table, ignored = _selectors(found[3].split(), family)
    except (ValueError, StopIteration) as why:
        raise fault(number, str(why) or "the line is cut short", line) from None
    test: Test = AllOf(tuple(tests))
    test = Not(test) if found[2] else test
    return PolicyRule(int(found[1]), test, table, line.strip(), ignored)


def _selectors(words: Sequence[str], family: int) -> tuple[list[Test], str | None, int]:
    """Return the tests, the table, and the prefix length up to which its routes are ignored."""
    tests: list[Test] = []
    table: str | None = None
    ignored = -1
    rest = iter(words)
    for word in rest:
        if word in {"lookup", "table"}:
            name = next(rest)
            table = _TABLES.get(name, name)
        elif word in {"unreachable", "blackhole", "prohibit"}:
            table = None
        elif word == "suppress_prefixlength":
            ignored = integer(next(rest))
        elif word == "nop":
            tests.append(Unknown(" ".join(words)))
        else:
            tests.append(_selector(word, next(rest), family))
    return tests, table, ignored


def _selector(word: str, value: str, family: int) -> Test:
    match word:
        case "from" | "to":
            if value == "all":
                return TRUE
            name = Field.SOURCE if word == "from" else Field.DESTINATION
            return Number(name, network(value, family)[0])
        case "fwmark":
            mark, slash, mask = value.partition("/")
            number = integer(mark)
            return Number(Field.MARK, ((number, number),), integer(mask) if slash else _ALL)
        case "iif":
            # Packets of a local process count as received on lo (ip-rule(8)).
            own = Number(Field.HAS_SOCKET, ((1, 1),))
            return own if value == "lo" else Interface(Field.IN, (value,))
        case "uidrange":
            low, _, high = value.partition("-")
            return Number(Field.UID, ((integer(low), integer(high)),))
        case "ipproto":
            protocol = named(value, PROTOCOLS)
            return Number(Field.PROTOCOL, ((protocol, protocol),))
        case "sport" | "dport":
            name = Field.SOURCE_PORT if word == "sport" else Field.PORT
            return Number(name, (span(value, "-", 65535),))
        case "oif" | "tos" | "dsfield":
            return Unknown(f"{word} {value}")
        case _:
            return TRUE if word in {"proto", "protocol"} else Unknown(f"{word} {value}")


def route(number: int, line: str, family: int) -> tuple[str, Route]:
    """Return (table, route) of one line of ``ip route show table all``.

    Raises:
        RulesError: It is not one; the message names the line.
    """
    words = line.split()
    kind = words.pop(0) if words and words[0] in _KINDS else "unicast"
    if not words:
        raise fault(number, "this is not a line of ip route", line)
    try:
        block = ip_network(_whole(words[0], family), strict=False)
    except ValueError as why:
        raise fault(number, str(why), line) from None
    if block.version != family:
        raise fault(number, f"this is not a route of IPv{family}", line)
    options = dict(zip(words[1::2], words[2::2], strict=False))
    ends = (int(block.network_address), int(block.broadcast_address))
    device = _after(words, "dev")
    return _after(words, "table") or options.get("table", "main"), Route(ends, kind, device)


def _whole(destination: str, family: int) -> str:
    return {4: "0.0.0.0/0", 6: "::/0"}[family] if destination == "default" else destination


def _after(words: Sequence[str], word: str) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""


def joined(rules: Sequence[PolicyRule], routes: Sequence[tuple[str, Route]]) -> Routing:
    """Return the routing that consists of these rules and routes."""
    tables: dict[str, list[Route]] = {}
    for table, entry in routes:
        tables.setdefault(table, []).append(entry)
    found = {table: tuple(entries) for table, entries in tables.items()}
    return Routing(tuple(sorted(rules, key=lambda rule: rule.priority)), found)


def plain(
    own: Mapping[str, Sequence[int]], loopback: tuple[int, int], everything: tuple[int, int]
) -> Routing:
    """Return the default routing of a pod whose routes were not read.

    Args:
        own: The pod's addresses, by interface.
        loopback: The loopback range.
        everything: The range of all addresses.
    """
    local = [Route(loopback, "local", "lo")]
    local += [Route((a, a), "local", device) for device, owned in own.items() for a in owned]
    rules = (
        PolicyRule(0, TRUE, "local", "from all lookup local"),
        PolicyRule(32766, TRUE, "main", "from all lookup main"),
    )
    default = tuple(Route(everything, "unicast", device) for device in list(own)[:1])
    return Routing(rules, {"local": tuple(local), "main": default})
