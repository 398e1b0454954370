"""Find simple packets in sets of packets, and the flows that one rule decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import ALL, NONE, Intervals
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.packet import (
    APPLICATION_UID,
    ATTRIBUTES,
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    UDP,
    Domain,
    Packet,
    environment,
)
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.space import LOOPBACK
from pytest_fsmredir.rules.trace import Path
from pytest_fsmredir.rules.vocabulary import NEW
from pytest_fsmredir.rules.walk import Walk


@dataclass(frozen=True, slots=True)
class Taste:
    """Which flows count as simple; earlier preferences have priority.

    Attributes:
        wishes: A field and its preferred values, used if a flow with such a value exists.
    """

    wishes: Sequence[tuple[Field, Intervals]]


def one(number: int) -> Intervals:
    """Return a single number as intervals."""
    return ((number, number),)


def usual_taste(family: int, addresses: Iterable[int] = (), ports: Iterable[int] = ()) -> Taste:
    """Return the preferences for flows that applications usually send.

    Args:
        family: IP version.
        addresses: Remote addresses to prefer, best first.
        ports: Destination ports to prefer, best first.
    """
    example = 0xC633640A if family == 4 else 0x20010DB8000500000000000000000010
    wishes = [
        (Field.TOS, one(0)),
        (Field.TTL, one(64)),
        (Field.TCP_FLAGS, one(SYN)),
        (Field.LENGTH, one(60 if family == 4 else 80)),
        (Field.LENGTH, ((60, 100),)),
        (Field.MARK, one(0)),
        (Field.GID, one(0)),
        (Field.UID, one(APPLICATION_UID)),
        (Field.UID, ((0, 65534),)),
        (Field.SOURCE_PORT, one(40000)),
        (Field.SOURCE_PORT, ((32768, 60999),)),
        (Field.PROTOCOL, one(TCP)),
        (Field.PROTOCOL, one(UDP)),
        (Field.PROTOCOL, one(ICMP if family == 4 else ICMPV6)),
        (Field.PROTOCOL, ((1, 254),)),  # no socket receives protocols 0 and 255 (raw(7))
        (Field.ICMP_TYPE, one(8 if family == 4 else 128)),
        (Field.ICMP_CODE, one(0)),
        *((Field.PORT, one(port)) for port in (*ports, 8080, 80, 443)),
        *((Field.DESTINATION, one(address)) for address in (*addresses, example)),
        *((Field.SOURCE, one(address)) for address in (*addresses, example)),
    ]
    return Taste(wishes)


class Seeker:
    """Finds packets for one rule set."""

    def __init__(self, model: Model, taste: Taste | None = None) -> None:
        self.model, self.space = model, model.space
        self.domain = Domain(self.space, model.surroundings)
        self._taste = taste or usual_taste(self.space.family)
        self._wished: dict[Direction, list[int]] = {}
        self._passed: dict[Direction, Walk] = {}

    def passed(self, direction: Direction) -> Walk:
        """Return the pass of all packets of a direction that open a flow; it is made once."""
        found = self._passed.get(direction)
        if found is None:
            found = Walk(self.model, environment(self.space, direction, {}))
            found.send(direction, ALL)
            self._passed[direction] = found
        return found

    def shown(self, direction: Direction, flows: int, state: int = NEW) -> list[Asked]:
        """Return every rule that flows reach, with the flows that match it."""
        shown: list[Asked] = []
        at = environment(self.space, direction, {}, state)
        Walk(self.model, at, observer=shown.append).send(direction, flows)
        return shown

    def alike(self, path: Path, shown: Sequence[Asked]) -> int:
        """Return the flows that the same rule decides, or the same failed condition."""
        bdd, decider, missed = self.space.bdd, path.decider, path.missed
        if decider is not None:
            return bdd.union(asked.hit for asked in shown if asked.rule is decider.rule)
        if missed is None:
            return bdd.minus(ALL, bdd.union(asked.reached for asked in shown))
        asked, place = missed
        return bdd.union(
            bdd.minus(other.reached, other.conditions[place])
            for other in shown
            if other.rule is asked.rule
        )

    def plainest(self, direction: Direction, flows: int, state: int = NEW) -> Packet:
        """Return the simplest of some flows.

        Raises:
            ValueError: The set is empty.
        """
        return self.example(direction, self.narrowed(direction, flows), state)

    def example(self, direction: Direction, flows: int, state: int = NEW) -> Packet:
        """Return one of some flows.

        Raises:
            ValueError: The set is empty.
        """
        example = self.space.bdd.example(flows)
        values = {a: self.space.value(example, name) for name, a in ATTRIBUTES.items()}
        interface = self.space.interfaces[self.space.value(example, Field.IN)]
        return Packet(
            direction=direction,
            family=self.space.family,
            interface=interface,
            state=state,
            **values,
        )

    def narrowed(self, direction: Direction, flows: int) -> int:
        """Return the flows that meet the preferences, as far as any of them can."""
        if direction not in self._wished:
            wishes = (*self._places(direction), *self._taste.wishes)
            likely = self.domain.likely(direction, self.model.routing)
            narrower = (self.domain.only(name, spans) for name, spans in wishes)
            self._wished[direction] = [likely, *narrower]
        for wished in self._wished[direction]:
            narrowed = self.space.bdd.both(flows, wished)
            flows = narrowed if narrowed != NONE else flows
        return flows

    def _places(self, direction: Direction) -> list[tuple[Field, Intervals]]:
        """Return the preferences for the pod's first interface and address."""
        pod = self.model.surroundings
        device = next(iter(pod.addresses), "lo")
        family = self.space.family
        own = [a for owned in pod.own(family).values() for a in owned]
        name = Field.SOURCE if direction is Direction.OUTBOUND else Field.DESTINATION
        return [
            (Field.IN, one(self.space.index(device))),
            *((name, one(address)) for address in own),
            (name, ((LOOPBACK[family][0] | 1, LOOPBACK[family][0] | 1),)),
        ]
