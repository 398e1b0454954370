"""Follow the packets of a connection after its first one, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked, End, EndKind, Ends, Move, Observer
from pytest_fsmredir.rules.forms import Field, Hook, Number
from pytest_fsmredir.rules.packet import ACK, FIN, PSH, RST, SYN, TCP, URG, Packet, environment
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.seek import Seeker, one
from pytest_fsmredir.rules.space import Environment
from pytest_fsmredir.rules.trace import Path
from pytest_fsmredir.rules.vocabulary import ESTABLISHED
from pytest_fsmredir.rules.walk import Stage, Walk

_HEADER: Final = (Field.TCP_FLAGS, Field.LENGTH, Field.TOS, Field.TTL)
"""What differs from packet to packet of a connection."""

_SHORT: Final = (0, 100)
"""Lengths of packets without data, in bytes."""

LATER_ASKED: Final = ((Field.LENGTH, (_SHORT,)),)
"""What is asked about later packets besides what the rules ask."""

_STOPPED: Final = frozenset({EndKind.DROPPED, EndKind.REFUSED, EndKind.OPAQUE})
_ACK_AT, _SYN_AT = 3, 6
"""Places of the bits of flags, from the highest one."""

_ARRIVED: Final = frozenset({EndKind.DIRECT, EndKind.CAPTURED_OUTBOUND, EndKind.CAPTURED_INBOUND})
_TURNED: Final = {
    Field.SOURCE: Field.DESTINATION,
    Field.DESTINATION: Field.SOURCE,
    Field.SOURCE_PORT: Field.PORT,
    Field.PORT: Field.SOURCE_PORT,
}


class _Answering(Walk):
    """A pass of answers. NAT gives them the destination of the connection as their source."""

    def __init__(
        self, model: Model, at: Environment, shown: Environment, observer: Observer | None
    ) -> None:
        super().__init__(model, at, observer=observer)
        self._shown = shown

    def _translate(self, stage: Stage, packets: int) -> tuple[int, dict[Move, int]]:
        """Give answers the source that the client dialled, where NAT does it for a source."""
        if stage.hook is Hook.POSTROUTING:
            self.way.at = {**self.way.at, **self._shown}
        return packets, {}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Connections whose answers begin in the same way.

    Attributes:
        flows: The connections, by their first packets.
        answers: Whether these are answers; else the packets of the client.
        place: Where the answers begin: at the pod (outbound) or outside (inbound).
        source: The source that NAT hides, or None.
        by: The user whose socket answers; None for any user.
        lo: Whether the answers leave by ``lo``.
    """

    flows: int
    answers: bool = True
    place: Direction = Direction.OUTBOUND
    source: Move | None = None
    by: int | None = None
    lo: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Connections that lose packets after the first one.

    Attributes:
        end: What happens to these packets.
        answers: Whether these packets are answers.
        flows: The connections: the first packet, with the header of the lost one.
        follow: Returns the path of the lost packet of one of them.
        plain: Those that lose a packet without SYN.
        decided: Returns the connections of which one rule decides.
    """

    end: End
    answers: bool
    flows: int
    plain: int
    follow: Callable[[Packet], Path]
    decided: Callable[[Asked], int]


def opened(packet: Packet) -> Packet:
    """Return the usual first packet of the connection to which a later packet belongs."""
    usual = 60 if packet.family == 4 else 80
    return replace(packet, tcp_flags=SYN, length=usual, tos=0, ttl=64)


class Connections:
    """The connections of one direction that arrive, and their later packets."""

    def __init__(self, seeker: Seeker, direction: Direction, opening: int) -> None:
        """Prepare to follow them.

        Args:
            seeker: The rules.
            direction: Seen from the pod.
            opening: The first packets of the connections.
        """
        self._seeker, self._direction, self._opening = seeker, direction, opening
        self._model, self._space, self._bdd = seeker.model, seeker.space, seeker.space.bdd
        self._symbols = {Field.TCP_FLAGS: self._space.symbol(Field.TCP_FLAGS)}
        self._first = seeker.passed(direction)
        # The header of a later packet says nothing about that of the first one.
        self._moves = [(where, move, self._freed(some)) for where, move, some in self._first.moves]

    def lost(self) -> Iterator[Lost]:
        """Yield the connections whose later packets do not arrive."""
        for kind in self._kinds():
            for end, some in self._pass(kind).items():
                flows = self._bdd.both(some, kind.flows)
                flows = self._bdd.both(flows, self._sent(kind))
                if end.kind in _STOPPED and flows != NONE:
                    plain = self._bdd.minus(flows, self._with(SYN))
                    yield Lost(end, kind.answers, flows, plain, *self._means(kind))

    def _with(self, *flags: int) -> int:
        """Return the packets that have some flag."""
        return self._bdd.union(
            self._space.holds(Number(Field.TCP_FLAGS, one(flag), flag), self._symbols)
            for flag in flags
        )

    def _sent(self, kind: _Kind) -> int:
        """Return the later packets that a kernel sends: those of a handshake carry no data."""
        bdd = self._bdd
        ending = bdd.both(self._with(FIN), self._with(RST))
        if not kind.answers:
            return bdd.opposite(ending)
        short = self._seeker.domain.only(Field.LENGTH, (_SHORT,))
        opening = bdd.minus(short, self._with(FIN, RST, PSH, URG))
        return bdd.minus(bdd.either(bdd.opposite(self._with(SYN)), opening), ending)

    def _means(self, kind: _Kind) -> tuple[Callable[[Packet], Path], Callable[[Asked], int]]:
        shown: list[Asked] = []

        def follow(packet: Packet) -> Path:
            asked: list[Asked] = []
            ends = self._pass(kind, packet, asked.append)
            flags = (packet.tcp_flags if kind.answers else packet.tcp_flags & ~SYN) | ACK
            return Path(replace(packet, tcp_flags=flags), tuple(ends), tuple(asked))

        def decided(decider: Asked) -> int:
            if not shown:
                self._pass(kind, observer=shown.append)
            return self._bdd.union(asked.hit for asked in shown if asked.rule is decider.rule)

        return follow, decided

    def _kinds(self) -> Iterator[_Kind]:
        arrived = {
            end.kind: self._freed(self._bdd.both(some, self._opening))
            for end, some in self._first.way.ends.items()
            if end.kind in _ARRIVED
        }
        every = self._bdd.union(arrived.values())
        yield _Kind(every, answers=False)
        outbound = self._direction is Direction.OUTBOUND
        captured = self._bdd.minus(every, arrived.get(EndKind.DIRECT, NONE))
        for _, move, some in self._moves:
            yield _Kind(self._bdd.both(captured, some), source=move, by=SIDECAR_UID, lo=outbound)
            captured = self._bdd.minus(captured, some)
        yield _Kind(captured, by=SIDECAR_UID, lo=outbound)  # TPROXY, which keeps the addresses
        yield from self._direct(arrived.get(EndKind.DIRECT, NONE))

    def _direct(self, flows: int) -> Iterator[_Kind]:
        if self._direction is Direction.INBOUND:
            yield _Kind(flows)
            return
        lo = self._space.index("lo")
        inside = self._bdd.both(flows, self._seeker.domain.only(Field.IN, one(lo)))
        yield _Kind(inside, lo=True)
        yield _Kind(self._bdd.minus(flows, inside), place=Direction.INBOUND)

    def _freed(self, flows: int) -> int:
        """Return connections whatever the header of their first packet is."""
        names = list(_HEADER)
        if self._direction is Direction.INBOUND:
            names += [Field.UID, Field.GID]  # of the socket that answers, not of the client
        return self._bdd.either_way(flows, (v for n in names for v in self._space.variables(n)))

    def _pass(
        self, kind: _Kind, packet: Packet | None = None, observer: Observer | None = None
    ) -> Ends:
        """Pass the later packets of all connections, or one later packet."""
        if kind.flows == NONE:
            return {}
        given = {Field.PROTOCOL: TCP} if packet is None else packet.fields(self._space)
        at = environment(self._space, self._direction, given, ESTABLISHED)
        first, moves = self._first, self._moves
        if packet is not None:
            begun = opened(packet).fields(self._space)
            first = Walk(self._model, environment(self._space, self._direction, begun))
            first.send(self._direction, ALL)
            moves = first.moves
        at[Field.CONNECTION_MARK] = first.way.at[Field.CONNECTION_MARK]
        acknowledged = self._space.constant(Field.TCP_FLAGS, ACK)
        set_ = {_ACK_AT} if kind.answers else {_ACK_AT, _SYN_AT}
        at[Field.TCP_FLAGS] = tuple(
            acknowledged[i] if i in set_ else bit for i, bit in enumerate(at[Field.TCP_FLAGS])
        )
        if not kind.answers:
            walk = Walk(self._model, at, earlier=moves, observer=observer)
            return walk.send(self._direction, ALL)
        shown = {name: at[other] for name, other in _TURNED.items()}
        at = self._turned(kind, at) | shown
        if kind.source is not None:
            at |= self._hidden(kind.source)
        return _Answering(self._model, at, shown, observer).send(kind.place, ALL)

    def _turned(self, kind: _Kind, at: Environment) -> Environment:
        constant = self._space.constant
        device = at[Field.OUT if self._direction is Direction.OUTBOUND else Field.IN]
        if kind.lo:
            device = constant(Field.OUT, self._space.index("lo"))
        leaves, none = kind.place is Direction.OUTBOUND, constant(Field.IN, 0)
        return {
            **at,
            Field.IN: none if leaves else device,
            Field.OUT: device if leaves else none,
            Field.HAS_SOCKET: constant(Field.HAS_SOCKET, int(leaves)),
            Field.UID: at[Field.UID] if kind.by is None else constant(Field.UID, kind.by),
            Field.MARK: constant(Field.MARK, 0),
            Field.REPLY: constant(Field.REPLY, 1),
            Field.TRANSLATED: constant(Field.TRANSLATED, int(kind.source is not None)),
        }

    def _hidden(self, move: Move) -> Environment:
        """Return the source of answers before NAT gives them the one that was dialled."""
        found: Environment = {}
        own = self._model.surroundings.own(self._space.family).values()
        redirected = move.address in {a for owned in own for a in owned}
        if move.address is not None and not redirected:
            found[Field.SOURCE] = self._space.constant(Field.SOURCE, move.address)
        if move.port is not None:
            found[Field.SOURCE_PORT] = self._space.constant(Field.SOURCE_PORT, move.port)
        return found
