"""Which packets of the model the suite can send, and whose fate it can observe."""

from __future__ import annotations

from collections.abc import Sequence
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
from pytest_fsmredir.rules.bdd import ALL, Intervals, common, joined, outside
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.goals import Way
from pytest_fsmredir.rules.packet import ICMP, ICMPV6, SYN, TCP, UDP
from pytest_fsmredir.rules.seek import Seeker, Taste, one, usual_taste
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


def sendable(
    seeker: Seeker, client: str, highest_id: int, beyond: str | None = None
) -> dict[Way, int]:
    """Return the packets that the suite can send, by direction and state.

    Args:
        seeker: The pod's rules.
        client: The address of the client outside.
        highest_id: The highest user and group id that can own flows.
        beyond: An address that the pod's second interface leads to; None if it has none.
    """
    found = {}
    for way, ends in (
        (Direction.OUTBOUND, _leaving(seeker, highest_id, beyond)),
        (Direction.INBOUND, _entering(seeker)),
    ):
        from_client = seeker.domain.only(Field.SOURCE, one(address(client)))
        echo = _unmarked(seeker) if way is Direction.OUTBOUND else from_client
        flags = _FLAGS if way is Direction.OUTBOUND else one(SYN)
        found[way, NEW] = _all(seeker, [*ends, _protocols(seeker, flags, echo)])
        found[way, INVALID] = _both(seeker, [*ends, _unmarked(seeker), _answers(seeker)])
    return found


def _leaving(seeker: Seeker, highest_id: int, beyond: str | None) -> Sequence[int]:
    bdd, only, family = seeker.space.bdd, seeker.domain.only, seeker.space.family
    local = seeker.model.surroundings.local(family)
    owned = only(Field.DESTINATION, local)
    # A call of the sidecar to its own ports may never end.
    to_itself = bdd.both(
        bdd.both(owned, only(Field.UID, one(SIDECAR_UID))), only(Field.PORT, _OWN_PORTS)
    )
    return [
        seeker.domain.of(Direction.OUTBOUND),
        seeker.domain.likely(Direction.OUTBOUND, seeker.model.routing),
        only(Field.UID, ((0, highest_id),)),
        only(Field.GID, ((0, highest_id),)),
        bdd.either(owned, _remote(seeker, beyond)),
        bdd.opposite(to_itself),
    ]


def _remote(seeker: Seeker, beyond: str | None) -> int:
    """Return the packets to remote addresses, each by the interface that leads to it."""
    bdd, only, index = seeker.space.bdd, seeker.domain.only, seeker.space.index
    first, *others = seeker.model.surroundings.addresses
    usual = only(Field.DESTINATION, dialled(seeker.space.family))
    found = bdd.both(usual, only(Field.IN, one(index(first))))
    if beyond is not None and others:
        there = only(Field.DESTINATION, one(address(beyond)))
        found = bdd.either(found, bdd.both(there, only(Field.IN, one(index(others[0])))))
    return found


def _entering(seeker: Seeker) -> Sequence[int]:
    only, family = seeker.domain.only, seeker.space.family
    return [
        seeker.domain.of(Direction.INBOUND),
        seeker.domain.likely(Direction.INBOUND, seeker.model.routing),
        only(Field.SOURCE, dialled(family)),
        only(Field.TTL, one(_TTL)),
    ]


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


def _protocols(seeker: Seeker, flags: Intervals, echo: int) -> int:
    """Return packets that open TCP connections, datagrams, and echo requests."""
    only, family = seeker.domain.only, seeker.space.family
    icmp = ICMP if family == 4 else ICMPV6
    tos = only(Field.TOS, PLAIN_TOS)
    ungrouped = only(Field.GID, one(0))
    kinds = [
        [only(Field.PROTOCOL, one(TCP)), tos, only(Field.TCP_FLAGS, flags)],
        [only(Field.PROTOCOL, one(UDP)), tos, ungrouped],
        [
            only(Field.PROTOCOL, one(icmp)), echo, ungrouped, only(Field.TOS, one(0)),
            only(Field.ICMP_TYPE, one(ECHO_TYPE[icmp])), only(Field.ICMP_CODE, one(0)),
        ],
    ]  # fmt: skip
    return seeker.space.bdd.union(_both(seeker, kind) for kind in kinds)


def _all(seeker: Seeker, sets: Sequence[int]) -> int:
    only = seeker.domain.only
    usual = [
        only(Field.LENGTH, one(SYN_LENGTH[seeker.space.family])),
        only(Field.SOURCE_PORT, outside(_OWN_PORTS, 16)),
    ]
    return _both(seeker, [*sets, *usual])


def _both(seeker: Seeker, sets: Sequence[int]) -> int:
    found = sets[0]
    for one_set in sets[1:]:
        found = seeker.space.bdd.both(found, one_set)
    return found
