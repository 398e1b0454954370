"""Compare rules with the document for every packet, and find the differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.flow import Direction, Route
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.bdd import NONE, Intervals, joined, outside
from pytest_fsmredir.rules.divided import divided_space
from pytest_fsmredir.rules.document import Duty, duties, mentioned
from pytest_fsmredir.rules.ends import NO_ROUTE, SOURCE_CHANGED, Asked, End, EndKind, Ends
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import Field, Number, Unknown
from pytest_fsmredir.rules.later import LATER_ASKED, Connections, opened
from pytest_fsmredir.rules.packet import (
    ICMP,
    ICMPV6,
    PSH,
    TCP,
    UDP,
    URG,
    Packet,
    environment,
)
from pytest_fsmredir.rules.partition import Spans
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.seek import Seeker, Taste, one, usual_taste
from pytest_fsmredir.rules.trace import Path, follow
from pytest_fsmredir.rules.walk import Walk

_KINDS: Final = {
    Route.DIRECT: EndKind.DIRECT,
    Route.SIDECAR_OUTBOUND: EndKind.CAPTURED_OUTBOUND,
    Route.SIDECAR_INBOUND: EndKind.CAPTURED_INBOUND,
}
_LISTENERS: Final = {Route.SIDECAR_OUTBOUND: OUTBOUND_PORT, Route.SIDECAR_INBOUND: INBOUND_PORT}
UNTOUCHED: Final = {
    UDP: Duty(Route.DIRECT, "SPEC-5.2", Level.MUST),
    ICMP: Duty(Route.DIRECT, "SPEC-5.3", Level.MUST),
    ICMPV6: Duty(Route.DIRECT, "SPEC-5.3", Level.MUST),
}
_RARE: Final = Duty(Route.DIRECT, "SPEC-5.4", Level.SHOULD)
LATER: Final = Duty(Route.DIRECT, "SPEC-1.5", Level.MUST)
"""A later packet of a connection has to arrive, whichever route the connection took."""

FINDING_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """Flows that the rules treat differently from what the document requires, and the cause.

    Attributes:
        duty: What the document requires.
        end: The fate that the rules give them.
        path: The path of the simplest of these flows.
        decider: The rule that decides, or None if no rule matches.
        depends: Conditions that are not understood and decide the result; empty if it is certain.
        following: The path of a later packet, if the finding is about one.
        answers: Whether the later packet is an answer.
        flows: All of these flows, if the result is not certain.
    """

    duty: Duty
    end: End
    path: Path
    decider: Asked | None
    depends: tuple[str, ...] = ()
    following: Path | None = None
    answers: bool = False
    flows: int = NONE

    @property
    def later(self) -> bool:
        """Whether it is about a packet after the first of a connection."""
        return self.following is not None

    @property
    def shown(self) -> Path:
        """The path on which the cause lies."""
        return self.following or self.path

    @property
    def packet(self) -> Packet:
        """The simplest of these flows."""
        return self.path.packet

    @property
    def dependence(self) -> str:
        """The first condition that it depends on, and the chain of its rule if that is known."""
        what = self.depends[0]
        for asked in self.shown.asked:
            tests = (part for each in asked.rule.conditions for part in parts(each.test))
            if any(isinstance(part, Unknown) and part.what == what for part in tests):
                return f"{what} (in {asked.chain.name})"
        return what


@dataclass(slots=True)
class Proof:
    """The result of the comparison for all flows of one direction and IP version.

    Attributes:
        direction: Seen from the pod.
        family: IP version.
        findings: Certain differences, each with its simplest flow.
        doubts: Differences that depend on conditions that are not understood.
        more: There are more findings than these.
    """

    direction: Direction
    family: int
    findings: list[Finding] = field(default_factory=list)
    doubts: list[Finding] = field(default_factory=list)
    more: bool = False

    @property
    def proved(self) -> bool:
        """Whether the rules treat every flow as the document requires."""
        return not (self.findings or self.doubts or self.more)


class Prover:
    """Compares one rule set with one policy, for one IP version."""

    def __init__(
        self,
        rules: RuleSet,
        policy: Policy,
        family: int,
        surroundings: Surroundings | None = None,
        taste: Taste | None = None,
        further: Iterable[Spans] = (),
    ) -> None:
        """Prepare the comparison.

        Args:
            rules: What was read in the pod.
            policy: The pod's policy.
            family: IP version.
            surroundings: The pod; the default one has one interface.
            taste: Which flows count as simple.
            further: What will be asked about packets besides.
        """
        self.policy, self.family = policy, family
        self.surroundings = surroundings or Surroundings()
        names = self.surroundings.interfaces(rules, policy.network_interface_exclusion_list)
        taste = taste or usual_taste(family)
        about = [
            *mentioned(policy, family, self.surroundings),
            *taste.wishes,
            *LATER_ASKED,
            *further,
        ]
        self.space = divided_space(rules, family, self.surroundings, names, about)
        self.model = Model(rules, self.space, self.surroundings)
        self.seeker = Seeker(self.model, taste)
        self._domain = self.seeker.domain
        self.more = False

    def prove(self, direction: Direction) -> Proof:
        """Compare all flows of a direction with the document."""
        found = Proof(direction, self.family)
        self.more = False
        for finding in self._all(direction):
            (found.doubts if finding.depends else found.findings).append(finding)
            if len(found.findings) + len(found.doubts) >= FINDING_LIMIT:
                self.more = True
                break
        found.more = self.more
        return found

    def ends(self, direction: Direction, packets: int, fixed: dict[Field, int]) -> Ends:
        """Return the fates of packets."""
        walk = Walk(self.model, environment(self.space, direction, fixed))
        return walk.send(direction, packets)

    def _all(self, direction: Direction) -> Iterator[Finding]:
        bdd = self.space.bdd
        every = bdd.minus(self._domain.of(direction), self._kept_inside())
        opening = bdd.both(every, self._domain.opening())
        wanted = duties(self.policy, self.space, self.surroundings, direction)
        # Sets are smallest if all packets are followed, and are cut to those that can occur later.
        ends = self.seeker.passed(direction).way.ends
        for duty, flows in wanted:
            yield from self._differing(direction, duty, bdd.both(opening, flows), ends)
        yield from self._later(direction, opening)
        others = bdd.minus(every, self._domain.only(Field.PROTOCOL, one(TCP)))
        for duty, protocols in self._protocols():
            some = bdd.both(others, self._domain.only(Field.PROTOCOL, protocols))
            yield from self._differing(direction, duty, some, ends)

    def _kept_inside(self) -> int:
        """Return packets with a mark that makes routing deliver them locally, as TPROXY needs.

        Such marks are reserved for the implementation (SPEC-5.6).
        """
        routing = self.model.routing
        marking = [
            rule
            for rule in routing.rules
            if any(isinstance(p, Number) and p.field is Field.MARK for p in parts(rule.test))
            and any(route.kind == "local" for route in routing.tables.get(rule.table or "", ()))
        ]
        at = environment(self.space, Direction.OUTBOUND, {})
        return self.space.bdd.union(self.space.holds(rule.test, at) for rule in marking)

    def _protocols(self) -> Iterator[tuple[Duty, Intervals]]:
        known = [UDP, ICMP if self.family == 4 else ICMPV6]
        for number in known:
            yield UNTOUCHED[number], one(number)
        yield _RARE, outside(joined((n, n) for n in (*known, TCP)), 8)

    def _later(self, direction: Direction, opening: int) -> Iterator[Finding]:
        """Find packets after the first, and answers, that do not arrive."""
        for lost in Connections(self.seeker, direction, opening).lost():
            flows = lost.flows
            while flows != NONE:
                plain = self.space.bdd.both(flows, lost.plain)
                packet = self.seeker.plainest(direction, flows if plain == NONE else plain)
                following = lost.follow(packet)
                path, decider = follow(self.model, opened(packet)), following.decider
                depends = self._unknown(lost.flows)
                if lost.end.kind is EndKind.OPAQUE:
                    depends = (lost.end.detail,)
                yield Finding(LATER, lost.end, path, decider, depends, following, lost.answers)
                decided = NONE if decider is None else lost.decided(decider)
                rest = self.space.bdd.minus(flows, decided)
                flows = NONE if rest == flows else rest

    def _differing(
        self, direction: Direction, duty: Duty, flows: int, ends: Ends
    ) -> Iterator[Finding]:
        bdd = self.space.bdd
        for end, some in ends.items():
            if end.kind is not _KINDS[duty.route] and not _permitted(duty, end):
                differing = bdd.minus(bdd.both(flows, some), self._arriving_anyway(duty, end))
                certain = self._certain(flows, differing)
                yield from self._found(direction, duty, end, certain)
                yield from self._doubted(
                    direction, duty, end, bdd.minus(self._possible(differing), certain)
                )

    def _arriving_anyway(self, duty: Duty, end: End) -> int:
        """Return the packets to the listener itself: direct, they arrive where a capture leads."""
        port = _LISTENERS.get(duty.route)
        if port is None or end.kind is not EndKind.DIRECT:
            return NONE
        here = self._domain.only(Field.DESTINATION, self.surroundings.local(self.family))
        return self.space.bdd.both(here, self._domain.only(Field.PORT, one(port)))

    def _certain(self, flows: int, differing: int) -> int:
        """Return the flows that differ for every result of the conditions not understood."""
        bdd = self.space.bdd
        if differing == NONE:
            return NONE
        return bdd.minus(flows, self._possible(bdd.minus(flows, differing)))

    def _possible(self, flows: int) -> int:
        """Return the flows in a set for at least one result of the conditions not understood."""
        return self.space.bdd.either_way(flows, (free.variable for free in self.space.free))

    def _doubted(self, direction: Direction, duty: Duty, end: End, flows: int) -> Iterator[Finding]:
        """Yield one finding for flows that may differ."""
        if flows != NONE:
            path = follow(self.model, self.seeker.plainest(direction, flows))
            depends = self._doubts(path, end) or ("a condition that is not understood",)
            yield Finding(duty, end, path, path.decider, depends, flows=flows)

    def _found(self, direction: Direction, duty: Duty, end: End, flows: int) -> Iterator[Finding]:
        """Yield one finding for each rule, or failed condition, that decides flows."""
        bdd = self.space.bdd
        shown: list[Asked] | None = None
        while flows != NONE:
            packet = self.seeker.plainest(direction, flows)
            path = follow(self.model, packet)
            decider = path.decider
            depends = (end.detail,) if end.kind is EndKind.OPAQUE else ()
            owed = _owed(duty, end, packet)
            if owed is not None:
                yield Finding(owed, end, path, decider, depends)
            try:
                shown = shown or self.seeker.shown(direction, flows)
                rest = bdd.minus(flows, self.seeker.alike(path, shown))
            except TooComplexError:
                rest = flows
            if rest == flows:  # the rest is indistinguishable from the finding
                self.more = True
                return
            flows = rest

    def _doubts(self, path: Path, end: End) -> tuple[str, ...]:
        """Return the conditions not understood that a finding depends on."""
        if end.kind is EndKind.OPAQUE:
            return (end.detail,)
        sets = {some for asked in path.asked for some in (*asked.conditions, asked.reached)}
        return self._unknown(*sets)

    def _unknown(self, *sets: int) -> tuple[str, ...]:
        """Return the conditions not understood that sets of packets depend on."""
        names = {free.variable: free.test.what for free in self.space.free}
        used = {v for some in sets for v in self.space.bdd.support(some)} if names else set()
        return tuple(names[v] for v in sorted(used) if v in names)


def _permitted(duty: Duty, end: End) -> bool:
    """Whether the document permits a fate that it does not require.

    The sidecar's own calls to 127.0.0.1 may arrive at the pod's address (SPEC-3.1).
    """
    return duty.sentence == "SPEC-6.1" and end.kind is EndKind.ELSEWHERE


def _owed(duty: Duty, end: End, packet: Packet) -> Duty | None:
    """Return the violated requirement of packets that may be unusual; None if there is none."""
    if packet.protocol == TCP and packet.tcp_flags & (PSH | URG):
        sentence = "SPEC-1.6" if packet.direction is Direction.OUTBOUND else "SPEC-2.6"
        return Duty(duty.route, sentence, Level.SHOULD)
    inbound = packet.direction is Direction.INBOUND
    if inbound and duty.route is Route.SIDECAR_INBOUND and end.detail == SOURCE_CHANGED:
        return Duty(duty.route, "SPEC-2.3", Level.MUST)
    if packet.mark == 0:
        return duty
    if end.kind is EndKind.DIRECT:
        must = duty.level is Level.MUST and duty.route is Route.SIDECAR_OUTBOUND
        return Duty(duty.route, "SPEC-4.8", Level.MUST) if must else duty
    # An implementation needs reserved marks, whose packets it delivers inside the pod (SPEC-5.6).
    kept = end.kind is EndKind.LOST and not end.detail.startswith(NO_ROUTE)
    return None if kept else Duty(duty.route, "SPEC-5.6", Level.SHOULD)
