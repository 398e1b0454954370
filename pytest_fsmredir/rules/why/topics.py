"""What the document says of one flow, and which field of its packet a rule has to compare."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS, SIDECAR_UID
from pytest_fsmredir.rules.bdd import Intervals, contains, joined
from pytest_fsmredir.rules.forms import Field, Interface, Number, Rule
from pytest_fsmredir.rules.packet import TCP, protocol_name, text_of
from pytest_fsmredir.rules.space import LOOPBACK
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.words import leaves, span_words

_MISTAKEN = {
    Field.PORT: Field.SOURCE_PORT,
    Field.DESTINATION: Field.SOURCE,
    Field.UID: Field.GID,
    Field.OUT: Field.IN,
    Field.IN: Field.OUT,
}
"""The field that a wrong rule compares instead."""
ADDRESSES: Final = "addresses of the pod"
"""The kind of a reason that is about the pod's own addresses."""


@dataclass(frozen=True)
class Topic:
    """One reason why a flow has its fate.

    Attributes:
        field: The field of the packet that the reason is about.
        items: What the document or a list says, as numbers; empty for interfaces.
        what: What has to be exempt, such as ``port 9016``.
        kind: The items in the plural, such as ``excluded ports``.
        names: Names of interfaces.
        own: The ranges that contain the flow's destination.
    """

    field: Field
    items: tuple[tuple[int, int], ...]
    what: str
    kind: str
    names: tuple[str, ...] = ()
    own: Intervals = ()

    @property
    def mistaken(self) -> Field | None:
        """The field that a wrong rule compares instead."""
        return _MISTAKEN.get(self.field)

    def value_in(self, rule: Rule, field: Field | None = None) -> Intervals | None:
        """Return the values that a rule compares the field with; None if it does not."""
        field = field or self.field
        for condition in rule.conditions:
            for test, _ in leaves(condition.test):
                if test.field is field and isinstance(test, Number):
                    return test.values
                if test.field is field and isinstance(test, Interface):
                    return tuple((0, 0) for _ in test.names)
        return None

    def negated_in(self, rule: Rule) -> bool:
        """Whether a rule is about all other values of the field than those that it lists."""
        return any(
            negated
            for condition in rule.conditions
            for test, negated in leaves(condition.test)
            if test.field is self.field
        )

    def distance(self, values: Intervals, case: Case) -> int:
        """Return how far a rule's values are from the flow's destination."""
        return min(abs(low - case.sending.packet.destination) for low, _ in values)

    def is_part(self, values: Intervals) -> bool:
        """Whether a rule's values lie in the items that contain the flow's value."""
        return _are_inside(values, joined(self.own))

    def is_inside(self, values: Intervals) -> bool:
        """Whether a rule's values lie in items of the list."""
        return _are_inside(values, self._spans)

    def is_item(self, values: Intervals) -> bool:
        """Whether a rule's values are just items of the list."""
        if self.field is Field.DESTINATION:
            return all(span in self._each for span in values)
        return self.is_inside(values)

    def listed_in(self, values: Intervals) -> int:
        """Return how many items of a list of ports a rule's values contain."""
        return sum(
            bisect_right(self._ports, high) - bisect_left(self._ports, low)
            for low, high in joined(values)
        )

    @cached_property
    def _spans(self) -> Intervals:
        return joined(self.items)

    @cached_property
    def _each(self) -> frozenset[tuple[int, int]]:
        return frozenset(self.items)

    @cached_property
    def _ports(self) -> list[int]:
        return sorted({low for low, _ in self.items})


def exempting(case: Case) -> Iterator[Topic]:
    """Yield the reasons why a flow has to be direct, the most specific first."""
    packet, policy = case.sending.packet, case.policy
    if packet.protocol != TCP:
        yield Topic(
            Field.PROTOCOL, ((TCP, TCP),), f"{protocol_name(packet.protocol)}", "other protocols"
        )
        return
    outbound = packet.direction is Direction.OUTBOUND
    if outbound and packet.uid == SIDECAR_UID:
        yield Topic(Field.UID, ((SIDECAR_UID,) * 2,), f"uid {SIDECAR_UID}", "users")
    if case.sending.flow.interface in policy.network_interface_exclusion_list:
        yield interfaces(policy, outbound=outbound, named=case.sending.flow.interface)
    yield from _addresses(case) if outbound else ()
    ports = policy.outbound_port_exclusion_list if outbound else policy.inbound_port_exclusion_list
    if packet.port in ports:
        yield Topic(Field.PORT, _each(ports), f"port {packet.port}", "excluded ports")
    if not outbound and packet.port in SERVED_PORTS:
        yield Topic(Field.PORT, _each(SERVED_PORTS), f"port {packet.port}", "reserved ports")


def capturing(case: Case) -> Iterator[Topic]:
    """Yield the reasons why a flow has to be captured that a rule may compare."""
    packet, policy = case.sending.packet, case.policy
    included = ranges(policy.outbound_ip_range_inclusion_list, case.family)
    inside = any(low <= packet.destination <= high for low, high in included)
    if packet.direction is Direction.OUTBOUND and inside:
        yield _range(packet.destination, included, case.family, "included ranges")


def interfaces(policy: Policy, *, outbound: bool, named: str) -> Topic:
    """Return the topic of the excluded interfaces."""
    field = Field.OUT if outbound else Field.IN
    names = policy.network_interface_exclusion_list
    return Topic(field, (), f"interface {named}", "excluded interfaces", names)


def ranges(networks: tuple[Network, ...], family: int) -> Intervals:
    """Return the ranges of one IP version as numbers."""
    return tuple(
        (int(network.network_address), int(network.broadcast_address))
        for network in networks
        if network.version == family
    )


def _addresses(case: Case) -> Iterator[Topic]:
    packet, family = case.sending.packet, case.family
    loopback = (LOOPBACK[family],)
    if contains(loopback, packet.destination):
        what = span_words(Field.DESTINATION, ((packet.destination,) * 2,), family)
        yield Topic(Field.DESTINATION, loopback, f"loopback destination {what}", "addresses")
    if packet.interface == "lo":
        yield Topic(Field.OUT, (), "traffic inside the pod (interface lo)", "interfaces", ("lo",))
        own = [address for owned in case.pod.own(family).values() for address in owned]
        if packet.destination in own:
            what = f"the pod's address {text_of(packet.destination, family)}"
            yield Topic(Field.DESTINATION, _each(tuple(own)), what, ADDRESSES)
    excluded = ranges(case.policy.outbound_ip_range_exclusion_list, family)
    if any(low <= packet.destination <= high for low, high in excluded):
        yield _range(packet.destination, excluded, family, "excluded ranges")


def _range(address: int, spans: Intervals, family: int, kind: str) -> Topic:
    own = tuple(span for span in spans if span[0] <= address <= span[1])
    what = span_words(Field.DESTINATION, own[:1], family)
    return Topic(Field.DESTINATION, spans, what, kind, own=own)


def _each(numbers: tuple[int, ...]) -> Intervals:
    return tuple((number, number) for number in numbers)


def _are_inside(values: Intervals, spans: Intervals) -> bool:
    return all(contains(spans, low) and contains(spans, high) for low, high in values)


def covered(values: Intervals, items: Intervals) -> int:
    """Return how many items some values contain."""
    spans = joined(values)
    return sum(contains(spans, low) and contains(spans, high) for low, high in items)
