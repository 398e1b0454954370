"""Which packets of the model the suite can send, and whose fate it can observe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
    SIDECAR_UID,
)
from pytest_fsmredir.probing.aim import ANSWERED, NOT_ANSWERED
from pytest_fsmredir.rules.bdd import ALL, NONE, Intervals, common, joined, outside
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.goals import Way
from pytest_fsmredir.rules.packet import ATTRIBUTES, ICMP, ICMPV6, SYN, TCP, UDP, Packet
from pytest_fsmredir.rules.partition import Spans
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.seek import Seeker, Taste, one, usual_taste
from pytest_fsmredir.rules.space import Environment, Space
from pytest_fsmredir.rules.vocabulary import INVALID, NEW, address

ECN_SYN: Final = 0xC2
SYN_ACK: Final = 0x12
ECHO_TYPE: Final = {ICMP: 8, ICMPV6: 128}
REPLY_TYPE: Final = {ICMP: 0, ICMPV6: 129}
STRAY_LENGTH: Final = {4: 40, 6: 60}
"""Length in bytes of the forged packets, by IP version."""

SYN_LENGTH: Final = {4: 60, 6: 80}
"""Length in bytes of Linux's SYN packet, by IP version; the suite sends SYNs of no other length."""

LONGEST: Final = 1400
"""Limit in bytes of a packet that is sent: longer ones may be fragmented."""

PLAIN_TOS: Final = tuple((n, n) for n in range(0, 256, 4))
"""TCP itself sets the ECN bits."""

_OWN_PORTS: Final = joined((n, n) for n in (ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, *SERVED_PORTS))
_FLAGS: Final = joined([(SYN, SYN), (ECN_SYN, ECN_SYN)])
_TTL: Final = 64


def dialled(family: int, beyond: str | None = None) -> Intervals:
    """Return the remote addresses that the outside answers for.

    Args:
        family: IP version.
        beyond: An address that the pod's second interface leads to; None if it has none.
    """
    width = 32 if family == 4 else 128
    hidden = outside(joined(NOT_ANSWERED[family]), width)
    further = [] if beyond is None else one(address(beyond))
    return joined([*common(joined(ANSWERED[family]), hidden), *further])


def asked(family: int, client: str, highest_id: int, beyond: str | None) -> Iterator[Spans]:
    """Yield the numbers by which this module selects packets, by field."""
    ends = [*dialled(family), *dialled(family, beyond), *one(address(client))]
    ends += [] if beyond is None else one(address(beyond))
    yield Field.DESTINATION, tuple(ends)
    yield Field.PORT, _OWN_PORTS
    yield Field.UID, ((0, highest_id), *one(SIDECAR_UID))
    yield Field.GID, ((0, highest_id), *one(0))
    yield Field.TTL, one(_TTL)
    yield Field.LENGTH, ((0, LONGEST), *one(STRAY_LENGTH[family]), *one(SYN_LENGTH[family]))
    yield Field.ICMP_TYPE, tuple((n, n) for n in (*ECHO_TYPE.values(), *REPLY_TYPE.values()))
    yield Field.ICMP_CODE, one(0)


def taste(family: int, highest_id: int, beyond: str | None) -> Taste:
    """Return the preferences for flows that a place can send and the outside answers.

    Args:
        family: IP version.
        highest_id: The highest user and group id that a process can have here.
        beyond: An address that the pod's second interface leads to; None if it has none.
    """
    able: list[tuple[Field, Intervals]] = [
        (Field.UID, ((0, highest_id),)),
        (Field.GID, ((0, highest_id),)),
        (Field.LENGTH, one(SYN_LENGTH[family])),
        (Field.TOS, PLAIN_TOS),
        (Field.TCP_FLAGS, one(SYN)),
        (Field.TCP_FLAGS, one(ECN_SYN)),
        (Field.DESTINATION, dialled(family, beyond)),
    ]
    return Taste([*able, *usual_taste(family).wishes])


def occurring(seeker: Seeker) -> dict[Way, int]:
    """Return the packets that the rules have to be shown for: they open flows, or are stray.

    Stray packets belong to no connection: answers to nothing.
    """
    return {
        (way, state): seeker.space.bdd.both(seeker.domain.of(way), some)
        for way in Direction
        for state, some in ((NEW, ALL), (INVALID, _answers(seeker)))
    }


class Reach:
    """The first packets of the flows that sockets here can open, and whose fate is observable.

    One rule answers for sets of packets and for a single packet.
    """

    def __init__(
        self,
        space: Space,
        surroundings: Surroundings,
        client: str,
        highest_id: int,
        beyond: str | None = None,
    ) -> None:
        """Describe a pod and what is around it.

        Args:
            space: The packets of one IP version in the pod.
            surroundings: The addresses of the pod.
            client: The address of the client outside.
            highest_id: The highest user and group id that can own flows.
            beyond: An address that the pod's second interface leads to; None if it has none.
        """
        self._space, self.surroundings = space, surroundings
        self._client, self._highest_id, self._beyond = client, highest_id, beyond
        self._symbols = {name: space.symbol(name) for name in (Field.IN, *ATTRIBUTES)}

    def opens(self, packet: Packet) -> bool:
        """Whether a flow with this first packet can be sent."""
        space = self._space
        at = {name: space.constant(name, n) for name, n in packet.fields(space).items()}
        return NONE not in (self._ends(packet.direction, at), self._kinds(packet.direction, at))

    def opening(self, direction: Direction) -> int:
        """Return the first packets of all flows of a direction that can be sent."""
        return self._space.bdd.both(self.ends(direction), self._kinds(direction, self._symbols))

    def ends(self, direction: Direction) -> int:
        """Return the packets between a user of the pod, or the client, and what answers."""
        return self._ends(direction, self._symbols)

    def _ends(self, direction: Direction, at: Environment) -> int:
        here = self.surroundings.own(self._space.family)
        if direction is Direction.INBOUND:  # the link of an interface leads to its addresses
            homes = (
                self._all(at, {Field.IN: self._number(name), Field.DESTINATION: _each(owned)})
                for name, owned in here.items()
            )
            remote = self._all(at, {Field.SOURCE: dialled(self._space.family)})
            return self._space.bdd.both(self._space.bdd.union(homes), remote)
        ids = ((0, self._highest_id),)
        local = self.surroundings.local(self._space.family)
        places = {"lo": local}
        for name, some in zip(here, (self._usual(local), self._hidden()), strict=False):
            places[name] = some
        found = self._space.bdd.union(
            self._all(at, {Field.IN: self._number(name), Field.DESTINATION: some})
            for name, some in places.items()
        )
        owners = self._all(at, {Field.UID: ids, Field.GID: ids})
        return self._space.bdd.both(found, owners)

    def _usual(self, local: Intervals) -> Intervals:
        """Return the addresses behind the first interface."""
        family = self._space.family
        return common(dialled(family), outside(local, 32 if family == 4 else 128))

    def _hidden(self) -> Intervals:
        """Return the addresses behind the second interface."""
        return () if self._beyond is None else one(address(self._beyond))

    def _kinds(self, direction: Direction, at: Environment) -> int:
        """Return the SYNs, datagrams and echo requests that the suite's sockets send."""
        family = self._space.family
        outbound = direction is Direction.OUTBOUND
        icmp = ICMP if family == 4 else ICMPV6
        short, none = ((0, LONGEST),), one(0)
        echo = {
            Field.PROTOCOL: one(icmp), Field.LENGTH: short, Field.TOS: none, Field.MARK: none,
            Field.GID: none, Field.TTL: one(_TTL), Field.ICMP_TYPE: one(ECHO_TYPE[icmp]),
            Field.ICMP_CODE: none,
        }  # fmt: skip
        if not outbound:
            echo[Field.SOURCE] = one(address(self._client))
        kinds: Sequence[Mapping[Field, Intervals]] = (
            {
                Field.PROTOCOL: one(TCP), Field.LENGTH: one(SYN_LENGTH[family]),
                Field.TOS: PLAIN_TOS, Field.TCP_FLAGS: _FLAGS if outbound else one(SYN),
            },
            {
                Field.PROTOCOL: one(UDP), Field.LENGTH: short, Field.TOS: PLAIN_TOS,
                Field.GID: none,
            },
            echo,
        )  # fmt: skip
        return self._space.bdd.union(self._all(at, kind) for kind in kinds)

    def _all(self, at: Environment, spans: Mapping[Field, Intervals]) -> int:
        """Return the packets whose fields lie in these intervals."""
        found = ALL
        for name, some in spans.items():
            found = self._space.bdd.both(found, self._space.within(name, at[name], some))
        return found

    def _number(self, interface: str) -> Intervals:
        return one(self._space.index(interface))


def sendable(seeker: Seeker, reach: Reach) -> dict[Way, int]:
    """Return the usual packets that the suite can send, by direction and state.

    Those that open flows have the usual length and no port of the sidecar as their source.
    """
    bdd, only, family = seeker.space.bdd, seeker.domain.only, seeker.space.family
    usual = [
        only(Field.LENGTH, one(SYN_LENGTH[family])),
        only(Field.SOURCE_PORT, outside(_OWN_PORTS, 16)),
    ]
    found = {}
    for way in Direction:
        outbound = way is Direction.OUTBOUND
        some = _both(
            seeker,
            [
                seeker.domain.of(way),
                seeker.domain.likely(way, seeker.model.routing),
                bdd.opposite(_to_itself(seeker)) if outbound else only(Field.TTL, one(_TTL)),
                reach.ends(way),
            ],
        )
        found[way, NEW] = _both(seeker, [some, reach.opening(way), *usual])
        found[way, INVALID] = _both(seeker, [some, _unmarked(seeker), _answers(seeker)])
    return found


def _to_itself(seeker: Seeker) -> int:
    """Return the calls of the sidecar to its own ports, which may never end."""
    only, local = seeker.domain.only, seeker.model.surroundings.local(seeker.space.family)
    return _both(
        seeker,
        [
            only(Field.DESTINATION, local),
            only(Field.UID, one(SIDECAR_UID)),
            only(Field.PORT, _OWN_PORTS),
        ],
    )


def _each(numbers: Iterable[int]) -> Intervals:
    return joined((n, n) for n in numbers)


def _unmarked(seeker: Seeker) -> int:
    only = seeker.domain.only
    return _both(seeker, [only(Field.MARK, one(0)), only(Field.TTL, one(_TTL))])


def _answers(seeker: Seeker) -> int:
    """Return answers that connection tracking takes for stray if nothing was asked."""
    only, family = seeker.domain.only, seeker.space.family
    icmp = ICMP if family == 4 else ICMPV6
    kinds = [
        [only(Field.PROTOCOL, one(TCP)), only(Field.TCP_FLAGS, one(SYN_ACK))],
        [
            only(Field.PROTOCOL, one(icmp)), only(Field.ICMP_TYPE, one(REPLY_TYPE[icmp])),
            only(Field.ICMP_CODE, one(0)),
        ],
    ]  # fmt: skip
    plain = [only(name, one(0)) for name in (Field.TOS, Field.GID)]
    length = only(Field.LENGTH, one(STRAY_LENGTH[family]))
    kind = seeker.space.bdd.union(_both(seeker, kind) for kind in kinds)
    return _both(seeker, [kind, *plain, length])


def _both(seeker: Seeker, sets: Sequence[int]) -> int:
    found = sets[0]
    for one_set in sets[1:]:
        found = seeker.space.bdd.both(found, one_set)
    return found
