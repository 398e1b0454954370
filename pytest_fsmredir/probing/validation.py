"""Validate the model of a pod's rules by packets.

For each condition of each rule, one packet meets it and another one fails it alone. Each is sent,
and the kernel's trace and the packet's fate are compared with the path that the model predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from typing import Final, Protocol

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.pod_parts import Tracing
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Acceptor, Address, Direction, Fate
from pytest_fsmredir.model.reserved import ADMIN_PORT, INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID
from pytest_fsmredir.probing.rule_texts import text_alone
from pytest_fsmredir.probing.sendable import ECN_SYN
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import EndKind
from pytest_fsmredir.rules.forms import Chain, Field, Hook
from pytest_fsmredir.rules.goals import Goal, Key, Sets, Way, goals, reached
from pytest_fsmredir.rules.packet import (
    APPLICATION_UID,
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    Packet,
    text_of,
)
from pytest_fsmredir.rules.seek import Seeker, one
from pytest_fsmredir.rules.trace import Path, follow
from pytest_fsmredir.rules.vocabulary import INVALID, NEW
from pytest_fsmredir.traffic.forge import icmp, tcp
from pytest_fsmredir.traffic.packet import Packet as Forged
from pytest_fsmredir.traffic.tracing import TracedRule


class Trace(Protocol):
    """Begins to trace packets; see :meth:`.facets.ForeignPrograms.tracing`."""

    def __call__(self, *, legacy: bool) -> AbstractContextManager[Tracing]:
        """Trace packets for the block."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of the packets that are sent.

    Attributes:
        pod: The pod.
        client: A host outside.
        send: Sends a flow; returns None if that is impossible here.
    """

    pod: Place
    client: Place
    send: Callable[[Packet], Fate | None]


_Place = tuple[str, str, str, int]
"""Origin, table, chain and number of a rule."""

_UNANSWERED: Final = frozenset({EndKind.DROPPED, EndKind.LOST, EndKind.FORWARDED, EndKind.OPAQUE})
_ORDINARY: Final = 8080
_UNANSWERED_LIMIT: Final = 2
"""Limit of packets without an answer, each of which takes a whole timeout."""
_CAPTURING: Final = {
    EndKind.CAPTURED_OUTBOUND: Acceptor.SIDECAR_OUTBOUND,
    EndKind.CAPTURED_INBOUND: Acceptor.SIDECAR_INBOUND,
}
_USERS: Final = ((APPLICATION_UID, APPLICATION_UID), (SIDECAR_UID, SIDECAR_UID))
_PLAIN: Final = (
    (Field.PROTOCOL, one(TCP)),
    (Field.TCP_FLAGS, one(SYN)),
    *((name, one(0)) for name in (Field.TOS, Field.MARK, Field.GID)),
    (Field.TTL, one(64)),
    (Field.SOURCE_PORT, one(40000)),
)
_Goal = tuple[int, str, str, str, str, str]
"""IP version, origin, table, chain, rule and condition."""

_SIDECARS: Final = frozenset({ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT})


@dataclass(slots=True)
class Confirmed:
    """What the kernel confirmed in the pods of a run: it treats one text alike in every pod.

    Attributes:
        goals: The goals that packets reached.
    """

    goals: set[_Goal] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Validation:
    """What the packets showed.

    Attributes:
        wanted: The goals of all rules.
        reached: Those that packets reached, and the kernel confirmed.
        without: Why no packet was traced; empty if packets were traced.
    """

    wanted: list[Goal]
    reached: frozenset[Key]
    without: str = ""


def validate(
    trace: Trace,
    seeker: Seeker,
    every: Sets,
    able: Callable[[], Sets],
    ends: Ends,
    confirmed: Confirmed,
) -> Validation:
    """Send packets that reach the goals of rules, and compare their paths with the kernel's trace.

    Args:
        trace: Traces packets through the rules.
        seeker: Finds packets; it has the model of the rules.
        every: The packets that the rules have to be shown for.
        able: Returns those that can be sent.
        ends: Sends them.
        confirmed: What was confirmed in other pods of the run. It receives the goals of this pod.

    Raises:
        BackendError: The kernel treats a packet differently from what the model predicts.
    """
    legacy = any("legacy" in chain.origin for chain in seeker.model.rules.chains.values())
    with ExitStack() as undo:
        try:
            tracing = undo.enter_context(trace(legacy=legacy))
        except BackendError as why:
            return Validation(goals(seeker, every), frozenset(), str(why))
        # Sets are smallest if all packets are followed, and are cut to some of them later.
        wanted = goals(seeker, dict.fromkeys(every, ALL))
        done = {
            goal.key
            for goal in wanted
            if _name_of(goal, seeker) in confirmed.goals and goal.occurs(seeker, every)
        }
        left = [goal for goal in wanted if goal.key not in done and goal.flows]
        if left:
            run = _Run(seeker, able(), ends, tracing, done)
            for goal in left:
                run.reach(goal)
    for goal in wanted:
        if goal.key not in done:
            goal.keep(seeker, every)
        elif (name := _name_of(goal, seeker)) is not None:
            confirmed.goals.add(name)
    return Validation(wanted, frozenset(done))


@dataclass
class _Run:
    """Sends packets, and notes the goals that they reach.

    Attributes:
        reached: The goals that packets reached.
    """

    seeker: Seeker
    able: Sets
    ends: Ends
    tracing: Tracing
    reached: set[Key] = field(default_factory=set)
    _conditions: dict[int, dict[int, int]] = field(default_factory=dict)
    _unanswered: int = 0

    @cached_property
    def _answered(self) -> Sets:
        return {way: self._without_silent(way, some) for way, some in self.able.items()}

    @cached_property
    def _usual(self) -> Sets:
        return {way: self._plain(way, some) for way, some in self._answered.items()}

    @cached_property
    def _tied(self) -> frozenset[str]:
        """The programs that have chains of one hook and one priority.

        Which chain the kernel calls first, no listing shows, and the other one may see no packet.
        """
        found: dict[tuple[Hook, int], set[str]] = {}
        for hook, chains in self.seeker.model.hooks.items():
            for chain in chains:
                if chain.rules or not chain.accepts:
                    found.setdefault((hook, chain.priority), set()).add(chain.origin)
        return frozenset().union(*(each for each in found.values() if len(each) > 1))

    def reach(self, goal: Goal) -> None:
        """Send a packet that reaches a goal, if no earlier packet did."""
        chosen = None if goal.key in self.reached else self._chosen(goal)
        if chosen is None:
            return
        packet, answered = chosen
        if not answered and packet.state == NEW:
            self._unanswered += 1
            if self._unanswered > _UNANSWERED_LIMIT:
                return
        self._send(packet)

    def _send(self, packet: Packet) -> None:
        path = self._confirmed(packet)
        for asked in path.asked if path else ():
            key = reached(asked)
            if key is not None:
                self.reached.add(key)

    def _without_silent(self, way: Way, packets: int) -> int:
        if way[1] == INVALID:  # no flow waits for an answer
            return packets
        ends = self.seeker.passed(way[0]).way.ends
        silent = self.seeker.space.bdd.union(
            some for end, some in ends.items() if end.kind in _UNANSWERED
        )
        return self.seeker.space.bdd.minus(packets, silent)

    def _plain(self, way: Way, packets: int) -> int:
        """Return TCP packets in which only ports, addresses and the user are not usual."""
        seeker = self.seeker
        usual = one(APPLICATION_UID) if way[0] is Direction.INBOUND else _USERS
        for name, spans in ((Field.UID, usual), *_PLAIN):
            packets = seeker.space.bdd.both(packets, seeker.domain.only(name, spans))
        return packets

    def _chosen(self, goal: Goal) -> tuple[Packet, bool] | None:
        """Return a packet that reaches a goal, and whether it is answered."""
        for (direction, state), some in goal.within(self.seeker, self._usual):
            return self.seeker.example(direction, some, state), True
        for able in (self._answered, self.able):
            for (direction, state), some in goal.within(self.seeker, able):
                return self.seeker.plainest(direction, some, state), able is self._answered
        return None

    def _confirmed(self, packet: Packet) -> Path | None:
        """Return the path of a packet after it was sent; None if it cannot be sent.

        A contradiction counts if it occurs again: another flow may have disturbed the first try.
        """
        for _ in range(2):
            tried = self._tried(packet)
            if tried is None:
                return None
            path, contradiction = tried
            if not contradiction:
                return path
        walk = "\n".join(show.path_lines(path))
        raise BackendError(
            f"wrong model of the rules: {contradiction}; please report this with the rules:\n{walk}"
        )

    def _tried(self, packet: Packet) -> tuple[Path, str] | None:
        """Send a packet; return its path, and how the kernel contradicts it."""
        self.tracing.rules(packet.protocol, b"")  # forget what came before
        try:
            fate = self.ends.send(packet) if packet.state == NEW else self._stray(packet)
        except (Unmet, OSError):  # it loops, or its source is taken
            return None
        if fate is None or fate.client is None:
            return None
        host, port = fate.client
        sent = replace(packet, source=int(ip_address(host)), source_port=port or 1)
        path = follow(self.seeker.model, sent)
        if sent.tcp_flags == ECN_SYN and path.end.kind is EndKind.DROPPED and fate.path:
            # The kernel repeated the SYN without the request for ECN (RFC 3168, 6.1.1.1).
            return None
        begins = sent.source_port.to_bytes(2, "big")
        if sent.protocol in {ICMP, ICMPV6}:
            begins = bytes([sent.icmp_type, sent.icmp_code])
        traced = self.tracing.rules(sent.protocol, begins)
        if traced is None:
            return None
        return path, self._difference(path, traced) or _other_fate(path, fate)

    def _stray(self, packet: Packet) -> Fate | None:
        """Send an answer to nothing, and return the fate of a flow that follows it.

        The kernel has handled the answer when the flow behind it has arrived. None if both have
        one source port: the trace tells them apart by it.
        """
        forged = _forged(packet)
        if packet.direction is Direction.OUTBOUND:
            self.tracing.inject(self.ends.pod, forged, uid=packet.uid)
            fate = self.ends.pod.connect(self.ends.client, _ORDINARY)
        else:
            self.tracing.inject(self.ends.client, forged)
            fate = self.ends.client.connect(self.ends.pod, _ORDINARY)
        if fate.client is None or fate.client[1] == packet.source_port:
            return None
        return replace(fate, client=forged.source)

    def _difference(self, path: Path, traced: frozenset[TracedRule]) -> str:
        """Return how the kernel's trace differs from a path; empty if it does not."""
        seen = {place for rule in traced if (place := self._place(rule)) is not None}
        seen = {place for place in seen if place[0] not in self._tied}
        sure, possible = set[_Place](), set[_Place]()
        for asked in path.asked:
            whole = self._longest(asked.chain)[asked.rule.number] == len(asked.rule.conditions)
            if whole and asked.hit != NONE:
                certain = asked.hit == ALL and asked.chain.origin not in self._tied
                into = sure if certain else possible
                into.add((*_name(asked.chain), asked.rule.number))
        for places, verb in ((sure - seen, "does not match"), (seen - sure - possible, "matches")):
            for origin, table, chain, number in sorted(places):
                return f"{path.packet} {verb} rule {number} of {table} {chain} ({origin})"
        return ""

    def _place(self, rule: TracedRule) -> _Place | None:
        """Return the place of a traced rule in the model; None at the end of a chain."""
        for origin in _origins(rule):
            chain = self.seeker.model.rules.chains.get((origin, rule.table, rule.chain))
            if chain is not None and chain.rules and rule.number <= chain.rules[-1].number:
                return (*_name(chain), rule.number)
        return None

    def _longest(self, chain: Chain) -> dict[int, int]:
        """Return how many conditions each rule of a chain has, by number.

        The reader splits a rule of nft that acts before its last condition; the kernel reports such
        a rule only if all of its conditions hold.
        """
        found = self._conditions.get(id(chain))
        if found is None:
            found = self._conditions[id(chain)] = {}
            for rule in chain.rules:
                found[rule.number] = max(found.get(rule.number, 0), len(rule.conditions))
        return found


def _name_of(goal: Goal, seeker: Seeker) -> _Goal | None:
    """Return what a goal is in every pod; None if it depends on more than the rule's text."""
    text = text_alone(goal.rule.text)
    if text is None:
        return None
    condition = goal.condition.text if goal.condition else ""
    return seeker.space.family, *_name(goal.chain), text, condition


def _forged(packet: Packet) -> Forged:
    source = Address(text_of(packet.source, packet.family), packet.source_port)
    to = Address(text_of(packet.destination, packet.family), packet.port)
    if packet.protocol == TCP:
        return tcp(source, to, packet.tcp_flags, seq=1, ack=1, hops=packet.ttl)
    rest = bytes(packet.length - (24 if packet.family == 4 else 44))  # of both headers
    kind, code = packet.icmp_type, packet.icmp_code
    return icmp(source.host, to.host, kind, code, rest, hops=packet.ttl)


def _name(chain: Chain) -> tuple[str, str, str]:
    return chain.origin, chain.table, chain.name


def _origins(rule: TracedRule) -> list[str]:
    """Return the names that the readers give to the program of a traced rule."""
    version = {"ip": "IPv4", "ip6": "IPv6"}.get(rule.family)
    natively = [f"nft {rule.family}"] if rule.variant == "nft" else []
    return natively + ([f"iptables-{rule.variant} {version}"] if version else [])


def _other_fate(path: Path, fate: Fate) -> str:
    """Return how a fate differs from what a path predicts; empty if it does not."""
    if len(path.ends) > 1 or path.packet.state != NEW:
        return ""
    kind, by = path.end.kind, fate.accepted_by
    if kind in _CAPTURING:
        agrees = by is _CAPTURING[kind]
    elif kind in {EndKind.DROPPED, EndKind.REFUSED}:
        agrees = by is None
    else:
        captured = by in set(_CAPTURING.values())
        agrees = kind is not EndKind.DIRECT or not captured or path.packet.port in _SIDECARS
    return "" if agrees else f"{path.packet} is {fate.seen}, and the model predicts {path.end}"
