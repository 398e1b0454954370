"""Find the acceptor of a flow in the kernel's socket tables and connection tracking.

This works with any sidecar and does not read rules. The flow must stay open meanwhile.
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
"""Limit of reported passes of a loop; a loop can have thousands."""


@dataclass(frozen=True, slots=True)
class Question:
    """A flow whose acceptor is to be found.

    Attributes:
        client: The client's own address (``getsockname``).
        destination: The address that it dialled.
        connected: Whether the client's handshake completed, even if the connection ended since.
    """

    client: Address
    destination: Address
    connected: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the tables of a pod show of a flow.

    Attributes:
        accepted: The acceptances in the pod, without those of this program; serial numbers are 0.
            More than one acceptance by the same listener is a loop.
        onward: The source addresses of the sidecar's connections to the flow's destination; one of
            them forwards the flow.
        pending: The flow waits for ``accept()``, so a later read may show more.
        tracking: Connection tracking was readable.
    """

    accepted: tuple[Acceptance, ...] = ()
    onward: tuple[Address, ...] = ()
    pending: bool = False
    tracking: bool = False


@dataclass(frozen=True, slots=True)
class WitnessScope:
    """The state of a pod at one moment.

    Attributes:
        table: Its sockets and tracked connections.
        addresses: Its own addresses, without loopback.
        ours: Inodes of the sockets of this program, whose acceptances are logged directly.
        uid: The sidecar's user.
    """

    table: SocketTable
    addresses: frozenset[str]
    ours: frozenset[int] = frozenset()
    uid: int = SIDECAR_UID


def look(scene: WitnessScope, question: Question) -> Sighting:
    """Find out who accepted a flow.

    The acceptor's socket is the one whose peer is the client. Its local address identifies it:

    - port 15001 or 15003, at any address: the flow came by REDIRECT or DNAT. Its original
      destination is the one in connection tracking. If that is not readable, the dialled address
      is used, and whether the sidecar can recover the destination is not judged.
    - a port that the sidecar serves, at an address of the pod: the flow came unchanged, or by DNAT;
      FSM's ``localProxyMode: PodIP`` sends the sidecar's calls to 127.0.0.1 to the pod's address.
    - the destination itself: the flow came unchanged. It came by TPROXY if the sidecar has no
      listener there, else to a listener of the sidecar or, for another user, to the application.

    The owner must be the sidecar's user. The user alone proves nothing, because the application may
    have the same user. A socket that its program has closed has no owner (sock_i_uid,
    linux/net/core/sock.c); then the listener of that port must be the sidecar's. If no socket is
    left, connection tracking is used if the client reports that its handshake was answered: an
    acceptance requires a socket. A flow that was redirected and refused leaves no trace: the kernel
    immediately deletes an entry whose only answer is a reset (nf_conntrack_tcp_packet,
    linux/net/netfilter/nf_conntrack_proto_tcp.c).
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

    Redirected flows that differ only in their destination would look alike to their acceptor, so
    the kernel changes their source ports (nf_nat_l4proto_unique_tuple). Only connection tracking
    identifies them.
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
    """Return which acceptor serves a port; the health responder has a separate user."""
    if port == HEALTH_PORT:
        return Acceptor.HEALTH if _listens(scene, port) else Acceptor.ORIGIN
    own = _listens(scene, port, lambda uid: uid == scene.uid)
    return _SERVING[port] if own else Acceptor.ORIGIN


def _listens(scene: WitnessScope, port: int, of: Callable[[int], bool] = lambda _: True) -> bool:
    """Whether a program other than this one listens on a port."""
    return any(
        row.state is TcpState.LISTEN
        and row.local.port == port
        and row.inode not in scene.ours
        and of(row.uid)
        for row in scene.table.rows
    )


def _waits(scene: WitnessScope, question: Question, row: SocketRow) -> bool:
    """Whether a connection exists that no program has accepted yet: it has no inode."""
    place = row.local
    awaited = (
        place == question.destination or place.port in _INTERCEPTING or _is_served(scene, place)
    )
    return awaited and (row.state in OPENING or (row.state in LIVE and not row.inode))


def _remembered(
    scene: WitnessScope, question: Question, tracked: TrackedFlow
) -> tuple[Acceptance, ...]:
    """Return who accepted a flow that only connection tracking still contains."""
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

    A connection of the sidecar to the dialled port whose other end is that listener is a loop: it
    forwards the flow and arrives at the sidecar again.
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
    """Whether an address is a port of the pod that the sidecar or the health responder serves."""
    return (place.port in _SERVING or place.port == HEALTH_PORT) and _is_here(scene, place)


def _is_here(scene: WitnessScope, place: Address) -> bool:
    loopback = place.host.startswith("127.") or place.host == "::1"
    return loopback or place.host in scene.addresses
