"""Packet filter rules in a neutral form, which no language of rules shows through.

A rule set is base chains at hooks, with rules made of conditions and actions. What a reader does
not understand keeps its words, as an :class:`Unknown` condition or an :class:`Opaque` action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pytest_fsmredir.rules.bdd import Intervals


class Field(StrEnum):
    """What a rule can ask of a packet, as a number."""

    PROTOCOL = "protocol"
    SOURCE = "source address"
    DESTINATION = "destination address"
    SOURCE_PORT = "source port"
    PORT = "destination port"
    UID = "uid"
    GID = "gid"
    HAS_SOCKET = "local socket"
    MARK = "mark"
    CONNECTION_MARK = "connection mark"
    STATE = "connection state"
    TOS = "service class"
    TTL = "ttl"
    LENGTH = "length"
    TCP_FLAGS = "tcp flags"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    FRAGMENT = "later fragment"
    LINK_TYPE = "link-layer type"
    IN = "incoming interface"
    OUT = "outgoing interface"
    REPLY = "reply direction"
    TRANSLATED = "destination translated"
    FAMILY = "family"
    TPROXY_PORT = "tproxy port"
    FIRST_SOURCE = "original source address"
    FIRST_DESTINATION = "original destination address"
    FIRST_SOURCE_PORT = "original source port"
    FIRST_PORT = "original destination port"


class Hook(StrEnum):
    """Where a packet passes base chains."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"


class Kind(StrEnum):
    """What a base chain is for."""

    FILTER = "filter"
    NAT = "nat"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Number:
    """A field, masked, lies in one of some intervals."""

    field: Field
    values: Intervals
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """The name of an interface is one of some; ``*`` at the end stands for any ending."""

    field: Field
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressType:
    """An address is of a type that the routing table gives it, such as ``LOCAL``."""

    field: Field
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equal:
    """Two fields hold the same number."""

    left: Field
    right: Field


@dataclass(frozen=True, slots=True)
class Not:
    """A test does not hold."""

    test: Test


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every test holds; true without any."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the tests holds; false without any."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """A test that is not understood: it may hold or not. Each one is another.

    Attributes:
        what: The words of the rule.
        varies: It can differ between equal packets, as a limit does.
    """

    what: str
    varies: bool = False


Test = Number | Interface | AddressType | Equal | Not | AllOf | AnyOf | Unknown
TRUE = AllOf(())
FALSE = AnyOf(())


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule, and its words there."""

    text: str
    test: Test


@dataclass(frozen=True, slots=True)
class Jump:
    """Go through another chain and come back where that returns."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Go through another chain and come back to the caller's caller."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Go back to the caller; in a base chain, to its policy."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Leave this base chain; the next one goes on."""


@dataclass(frozen=True, slots=True)
class Drop:
    """End the packet without a word."""


@dataclass(frozen=True, slots=True)
class Reject:
    """End the packet with an error message to its sender."""

    how: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the connection to this host instead; without a port, to the same port."""

    port: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Send the connection elsewhere (DNAT); None keeps the address or the port."""

    address: int | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Change the connection's source (SNAT, masquerade)."""

    how: str


@dataclass(frozen=True, slots=True)
class Tproxy:
    """Hand the packet to a local listener with its destination unchanged.

    Attributes:
        port: The listener's port; None is the packet's own.
        ends: Whether it ends the base chain, as in iptables and not in nft.
    """

    port: int | None
    ends: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Set a field: bits of ``mask`` are cleared, then ``value`` is combined by exclusive or."""

    field: Field
    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy bits of a field into another, bit by bit at the same place."""

    source: Field
    target: Field
    mask: int


@dataclass(frozen=True, slots=True)
class Untrack:
    """Keep connection tracking, and so NAT, off the packet."""


@dataclass(frozen=True, slots=True)
class Alter:
    """Change something that no rule can ask for."""

    what: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An action that is not understood."""

    what: str


Verdict = (
    Jump
    | Goto
    | Return
    | Accept
    | Drop
    | Reject
    | Redirect
    | Destination
    | Source
    | Tproxy
    | Opaque
)
Action = Verdict | Write | Copy | Untrack | Alter


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        conditions: All of them have to hold.
        actions: Taken in order; empty for a rule that only counts or logs.
        line: Where it stands in the text it was read from, from 1; 0 where there is none.
        text: The rule in its own language.
        number: Its place in its chain, from 1.
        packets: What its counter says, or None.
    """

    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]
    line: int
    text: str
    number: int
    packets: int | None = None


@dataclass(slots=True)
class Chain:
    """A list of rules, in a table.

    Attributes:
        name: Its name in the table.
        table: The table's name.
        origin: The language and family of the table; no jump leads to another origin.
        rules: In order.
        hook: Where packets enter it; None for a chain that is only jumped to.
        kind: What a base chain is for.
        priority: The order of base chains of one hook, lowest first.
        accepts: The policy of a base chain.
        families: IP versions that pass it.
        line: Of its declaration.
    """

    name: str
    table: str
    origin: str
    rules: list[Rule] = field(default_factory=list)
    hook: Hook | None = None
    kind: Kind = Kind.FILTER
    priority: int = 0
    accepts: bool = True
    families: tuple[int, ...] = (4, 6)
    line: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One line of ``ip rule``: which routing table a packet asks.

    Attributes:
        priority: Lowest first.
        test: Which packets it is for.
        table: The table; None where the rule itself decides (blackhole, unreachable).
        text: The line.
    """

    priority: int
    test: Test
    table: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a routing table.

    Attributes:
        destination: First and last address.
        kind: ``unicast``, ``local``, ``broadcast``, ``multicast``, ``blackhole``, ...
        interface: Where it leads.
    """

    destination: tuple[int, int]
    kind: str
    interface: str


@dataclass(frozen=True, slots=True)
class Routing:
    """How one IP version is routed.

    Attributes:
        rules: By priority.
        tables: Routes by table name.
    """

    rules: tuple[PolicyRule, ...]
    tables: Mapping[str, tuple[Route, ...]]


@dataclass(slots=True)
class RuleSet:
    """Everything that was read of one pod.

    Attributes:
        chains: By (origin, table, name).
        routing: By IP version, where it was read.
        settings: Kernel settings by name, such as ``net.ipv4.ip_forward``.
        remarks: What was read and left out, for the reader.
    """

    chains: dict[tuple[str, str, str], Chain] = field(default_factory=dict)
    routing: dict[int, Routing] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def at(self, hook: Hook, family: int) -> list[Chain]:
        """Return the base chains of a hook that a family passes, in order."""
        found = [c for c in self.chains.values() if c.hook is hook and family in c.families]
        return sorted(found, key=lambda chain: chain.priority)

    def target(self, chain: Chain, name: str) -> Chain | None:
        """Return the chain that a rule of another chain names."""
        return self.chains.get((chain.origin, chain.table, name))


def parts(test: Test) -> Iterator[Test]:
    """Yield a test and everything it is made of."""
    yield test
    if isinstance(test, Not):
        yield from parts(test.test)
    elif isinstance(test, (AllOf, AnyOf)):
        for part in test.tests:
            yield from parts(part)
