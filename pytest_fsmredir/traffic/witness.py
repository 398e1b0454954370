"""Find the acceptor of a flow in the kernel's socket tables and connection tracking.

This works with any sidecar. It never reads rules. The flow must stay open meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    HEALTH_PORT,
    INBOUND_PORT,
    LIVENESS_PORT,
    METRICS_PORT,
    OUTBOUND_PORT,
    READINESS_PORT,
    SIDECAR_UID,
    STARTUP_PORT,
)
from pytest_fsmredir.traffic.sockettable import (
    ENDING,
    LIVE,
    OPENING,
    SocketRow,
    SocketTable,
    TcpState,
    TrackedFlow,
)

_INTERCEPTING = {
    OUTBOUND_PORT: Acceptor.SIDECAR_OUTBOUND,
    INBOUND_PORT: Acceptor.SIDECAR_INBOUND,
}
_SERVING = {
    ADMIN_PORT: Acceptor.ADMIN,
    METRICS_PORT: Acceptor.METRICS,
    LIVENESS_PORT: Acceptor.LIVENESS,
    READINESS_PORT: Acceptor.READINESS,
    STARTUP_PORT: Acceptor.STARTUP,
}


_PASSES = 100
"""Passes of a loop that are told; it can have thousands."""


@dataclass(frozen=True, slots=True)
class Question:
    """A flow whose acceptor is asked for.

    Attributes:
        client: The client's own address (``getsockname``).
        destination: What it dialled.
        connected: Whether the client's handshake completed, even if the connection ended since.
    """

    client: Address
    destination: Address
    connected: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the tables of a pod show of a flow.

    Attributes:
        accepted: Who in the pod accepted it, our own programs aside; serial numbers are 0. More
            than one acceptance by the same listener is a loop.
        onward: Where the sidecar's connections to the flow's destination come from: one of them
            carries the flow on.
        pending: It waits for ``accept()``, so another look may show more.
        tracking: Connection tracking could be asked.
    """

    accepted: tuple[Acceptance, ...] = ()
    onward: tuple[Address, ...] = ()
    pending: bool = False
    tracking: bool = False


@dataclass(frozen=True, slots=True)
class WitnessScope:
    """A pod at one moment.

    Attributes:
        table: Its sockets and tracked connections.
        addresses: Its own addresses, loopback aside.
        ours: Inodes of the sockets of the program that looks: it knows those better.
        uid: The sidecar's user.
    """

    table: SocketTable
    addresses: frozenset[str]
    ours: frozenset[int] = frozenset()
    uid: int = SIDECAR_UID


def look(scene: WitnessScope, question: Question) -> Sighting:
    """Return who accepted a flow.

    The acceptor's socket is the one whose other end is the client. By its own end it is:

    - port 15001 or 15003, at whatever address: it came by REDIRECT or DNAT. Its original
      destination is what connection tracking has for it. Where that is not to be read, what was
      dialled is taken for it; then whether the sidecar could have recovered it is not judged.
    - a port that the sidecar serves, at an address of the pod: it came unchanged, or by DNAT, as
      FSM's ``localProxyMode: PodIP`` takes the sidecar's calls to 127.0.0.1 to the pod's address.
    - the destination itself: it came unchanged, by TPROXY if the sidecar has no socket that listens
      there, else to a listener of the sidecar or, of another user, to the application.

    The owner has to be the sidecar's user, but a user proves nothing without the rest: the
    application may be of the same. A socket that its program has closed has no owner any more
    (sock_i_uid, linux/net/core/sock.c), so there the listener of that port has to be the sidecar's.
    For a connection without any socket left, connection tracking is the witness, if the client says
    that its handshake was answered: an acceptance takes a socket. What was redirected and refused
    leaves nothing to be seen: an entry whose only answer is a reset is deleted at once
    (nf_conntrack_tcp_packet, linux/net/netfilter/nf_conntrack_proto_tcp.c).
    """
    tracked = scene.table.tracked(question.client, question.destination)
    rows = [row for row in _rows_of(scene, question, tracked) if row.inode not in scene.ours]
    judged = [_accepted(scene, question, tracked, row) for row in rows]
    accepted = tuple(each for each in judged if each is not None)
    pending = not accepted and any(_waits(scene, question, row) for row in rows)
    if not accepted and not pending and tracked and question.connected:
        accepted = _remembered(scene, question, tracked)
    onward = _onward(scene, accepted)
    accepted += tuple(islice(_passes_again(scene, question, accepted), _PASSES))
    return Sighting(accepted, onward, pending, tracking=scene.table.conntrack is not None)


def _rows_of(
    scene: WitnessScope, question: Question, tracked: TrackedFlow | None
) -> list[SocketRow]:
    """Return the rows of the acceptor's socket.

    Redirected flows that differ in their destination only would look alike to their acceptor, so
    the kernel changes their source ports (nf_nat_l4proto_unique_tuple); only connection tracking
    tells which is which.
    """
    rows = scene.table.rows
    if tracked is not None:
        ends = (tracked.arrived_at, tracked.seen_from)
        return [row for row in rows if (row.local, row.peer) == ends]
    if scene.table.conntrack is None and sum(row.local == question.client for row in rows) > 1:
        return []
    return [row for row in rows if row.peer == question.client]


def _accepted(
    scene: WitnessScope, question: Question, tracked: TrackedFlow | None, row: SocketRow
) -> Acceptance | None:
    if not (row.state in LIVE and row.inode) and not (row.state in ENDING and question.connected):
        return None
    by = _acceptor(scene, question, row)
    if by is None:
        return None
    original = question.destination if row.local != question.destination else None
    if tracked is not None and tracked.arrived_at == row.local:
        original = tracked.destination
    return Acceptance(0, by, row.local, row.peer, original)


def _acceptor(scene: WitnessScope, question: Question, row: SocketRow) -> Acceptor | None:
    of_sidecar = row.uid == scene.uid if row.inode else None  # None: unknown
    port = row.local.port
    if port in _INTERCEPTING:
        listens = _listens(scene, port, lambda uid: uid == scene.uid)
        return _INTERCEPTING[port] if of_sidecar or (of_sidecar is None and listens) else None
    if _is_served(scene, row.local):
        return _server(scene, port)
    if row.local != question.destination:
        return None
    if not _is_here(scene, row.local):
        return Acceptor.SIDECAR_OUTBOUND if of_sidecar in (True, None) else None
    if of_sidecar and not _listens(scene, port):
        return Acceptor.SIDECAR_INBOUND
    return Acceptor.ORIGIN if _listens(scene, port) else None


def _server(scene: WitnessScope, port: int) -> Acceptor | None:
    """Return whose port of the served ones this is; the health responder's user is its own."""
    if port == HEALTH_PORT:
        return Acceptor.HEALTH if _listens(scene, port) else Acceptor.ORIGIN
    own = _listens(scene, port, lambda uid: uid == scene.uid)
    return _SERVING[port] if own else Acceptor.ORIGIN


def _listens(scene: WitnessScope, port: int, of: Callable[[int], bool] = lambda _: True) -> bool:
    """Whether a foreign program listens on a port."""
    return any(
        row.state is TcpState.LISTEN
        and row.local.port == port
        and row.inode not in scene.ours
        and of(row.uid)
        for row in scene.table.rows
    )


def _waits(scene: WitnessScope, question: Question, row: SocketRow) -> bool:
    """Whether a connection is there that no program has accepted yet: it has no inode."""
    place = row.local
    awaited = (
        place == question.destination or place.port in _INTERCEPTING or _is_served(scene, place)
    )
    return awaited and (row.state in OPENING or (row.state in LIVE and not row.inode))


def _remembered(
    scene: WitnessScope, question: Question, tracked: TrackedFlow
) -> tuple[Acceptance, ...]:
    """Return who accepted a flow of which only connection tracking knows any more."""
    place = tracked.arrived_at
    by = _INTERCEPTING.get(place.port)
    if _is_served(scene, place):
        by = _server(scene, place.port)
    if by is None or place == question.destination:
        return ()
    return (Acceptance(0, by, place, tracked.seen_from, tracked.destination),)


def _onward(scene: WitnessScope, accepted: tuple[Acceptance, ...]) -> tuple[Address, ...]:
    targets = {each.destination for each in accepted if each.by is Acceptor.SIDECAR_OUTBOUND}
    return tuple(
        row.local
        for row in scene.table.rows
        if row.peer in targets and row.uid == scene.uid and row.inode not in scene.ours
    )


def _passes_again(
    scene: WitnessScope, question: Question, accepted: tuple[Acceptance, ...]
) -> Iterator[Acceptance]:
    """Yield acceptances of the sidecar's own connections by the listener that took the flow.

    A connection of the sidecar to the port that was dialled, whose other end is that listener, is a
    loop: it carries the flow on, and comes back.
    """
    if not accepted or accepted[0].by not in _INTERCEPTING.values():
        return
    first, port = accepted[0], question.destination.port
    own = {
        row.local
        for row in scene.table.rows
        if row.uid == scene.uid and row.inode not in scene.ours and row.peer.port == port
    }
    for row in scene.table.rows:
        listener = row.local == first.local or row.local.port == first.local.port in _INTERCEPTING
        if listener and row.peer in own and row.peer != question.client and row.state in LIVE:
            yield replace(first, local=row.local, peer=row.peer)


def _is_served(scene: WitnessScope, place: Address) -> bool:
    """Whether a place is a port of the pod that the sidecar or the health responder serves."""
    return (place.port in _SERVING or place.port == HEALTH_PORT) and _is_here(scene, place)


def _is_here(scene: WitnessScope, place: Address) -> bool:
    loopback = place.host.startswith("127.") or place.host == "::1"
    return loopback or place.host in scene.addresses
