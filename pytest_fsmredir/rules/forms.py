"""Packet filter rules in a neutral form that does not depend on iptables or nft syntax.

A rule set has base chains at hooks; a rule has conditions and actions. Text that a reader does not
understand is kept, as an :class:`Unknown` condition or an :class:`Opaque` action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pytest_fsmredir.rules.bdd import Intervals


class Field(StrEnum):
    """A numeric property of a packet that a rule can match."""

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
    """A hook at which a packet passes base chains."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    INGRESS = "ingress"
    EGRESS = "egress"


DEVICE_HOOKS: Final = frozenset({Hook.INGRESS, Hook.EGRESS})
"""Hooks of single interfaces: before and after all other hooks. nft alone has chains there."""


class Kind(StrEnum):
    """The type of a base chain."""

    FILTER = "filter"
    NAT = "nat"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Number:
    """A field, after masking, lies in one of the intervals."""

    field: Field
    values: Intervals
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """The name of an interface fits one of the patterns; ``*`` at the end matches any ending."""

    field: Field
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressType:
    """An address has a type according to the routing table, such as ``LOCAL``."""

    field: Field
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equal:
    """Two fields have the same value."""

    left: Field
    right: Field


@dataclass(frozen=True, slots=True)
class Not:
    """A test does not hold."""

    test: Test


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every test holds; true for an empty list."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the tests holds; false for an empty list."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """A test that the model does not understand: it may hold or not. No two are the same.

    Attributes:
        what: The text of the condition.
        varies: The result can differ between equal packets, as for a rate limit.
    """

    what: str
    varies: bool = False


Test = Number | Interface | AddressType | Equal | Not | AllOf | AnyOf | Unknown
TRUE = AllOf(())
FALSE = AnyOf(())


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule, with its text."""

    text: str
    test: Test


@dataclass(frozen=True, slots=True)
class Jump:
    """Evaluate another chain, and continue here when it returns."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Evaluate another chain, and continue in this chain's caller when it returns."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Go back to the caller; in a base chain, to its policy."""


@dataclass(frozen=True, slots=True)
class Accept:
    """End this base chain; the packet continues with the next base chain."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the packet silently."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Drop the packet and send an error message to its sender."""

    how: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Redirect the connection to this host; without a port, to the same port (REDIRECT)."""

    port: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Change the connection's destination (DNAT); None keeps the address or the port."""

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
        port: The listener's port; None means the packet's destination port.
        ends: Whether the action ends the base chain; it does in iptables, not in nft.
    """

    port: int | None
    ends: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Set a field: clear the bits of ``mask``, then combine ``value`` by exclusive or."""

    field: Field
    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy bits of a field to the same positions of another field."""

    source: Field
    target: Field
    mask: int


@dataclass(frozen=True, slots=True)
class Untrack:
    """Exempt the packet from connection tracking, and thus from NAT."""


@dataclass(frozen=True, slots=True)
class Alter:
    """Change a property of the packet that no rule can match."""

    what: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An action that the model does not understand."""

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
        conditions: The rule matches if all of them hold.
        actions: In order; empty for a rule that only counts or logs.
        line: Its line number in the text, from 1; 0 if it was not read from a text.
        text: The rule in its original syntax.
        number: Its position in the chain, from 1.
        packets: The value of its packet counter, or None.
    """

    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]
    line: int
    text: str
    number: int
    packets: int | None = None


@dataclass(slots=True)
class Chain:
    """A chain of a table.

    Attributes:
        name: Its name in the table.
        table: The table's name.
        origin: The program and family of the table; a jump never leads to another origin.
        rules: In order.
        hook: The hook of a base chain; None for a chain that is only jumped to.
        kind: The type of a base chain.
        priority: Orders the base chains of one hook, lowest first.
        accepts: Whether the policy of a base chain is to accept.
        families: The IP versions of the packets that pass it.
        devices: The interfaces whose packets pass a base chain of :data:`DEVICE_HOOKS`; empty if
            the listing does not name them.
        line: The line number of its declaration.
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
    devices: tuple[str, ...] = ()
    line: int = 0
