"""Flows and their fates: what was sent, and what both ends saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pytest_fsmredir.model.claims import BaseClaim, require


class Protocol(StrEnum):
    """The protocol of a flow."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


class Direction(StrEnum):
    """The direction of a flow, seen from the pod; a flow inside the pod counts as outbound."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Route(StrEnum):
    """Where a flow must arrive first."""

    DIRECT = "direct"
    SIDECAR_OUTBOUND = "captured outbound"
    SIDECAR_INBOUND = "captured inbound"


class Address(NamedTuple):
    """An IP address and a port (0 where the protocol has none)."""

    host: str
    port: int

    @property
    def family(self) -> int:
        """IP version of the address, 4 or 6."""
        return 6 if ":" in self.host else 4

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.family == 6 else f"{self.host}:{self.port}"


class Acceptor(StrEnum):
    """Who answered a flow."""

    ORIGIN = "the destination itself"
    SIDECAR_OUTBOUND = "the sidecar's outbound listener"
    SIDECAR_INBOUND = "the sidecar's inbound listener"
    ADMIN = "the sidecar's admin listener"
    METRICS = "the sidecar's metrics listener"
    LIVENESS = "the sidecar's liveness listener"
    READINESS = "the sidecar's readiness listener"
    STARTUP = "the sidecar's startup listener"
    HEALTH = "the health responder"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One accepted flow, as the acceptor saw it.

    Attributes:
        serial: Position in the order of acceptances of the run (or of the probing process).
        by: The listener that accepted the flow.
        local: Address of the accepted socket (``getsockname``); of a TPROXY listener this is the
            original destination.
        peer: Address of the client as the acceptor saw it.
        original: Destination before NAT, from ``SO_ORIGINAL_DST``; None when the kernel tracks no
            such flow (ENOENT). Equal to ``local`` when nothing rewrote it.
    """

    serial: int
    by: Acceptor
    local: Address
    peer: Address
    original: Address | None = None

    @property
    def destination(self) -> Address:
        """The address that the client dialled, whatever the kind of redirection."""
        return self.original or self.local

    def __str__(self) -> str:
        return f"{self.by.value} (destination {self.destination}, source {self.peer})"


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection or datagram to send.

    Attributes:
        direction: Seen from the pod under test.
        destination: The address that the client sends to.
        protocol: TCP, UDP or ICMP.
        uid: User id that owns the client socket; None for clients outside the pod.
        interface: The pod's interface that the flow uses.
    """

    direction: Direction
    destination: Address
    protocol: Protocol = Protocol.TCP
    uid: int | None = None
    interface: str = "eth0"

    def __str__(self) -> str:
        who = "a client outside" if self.uid is None else f"uid {self.uid}"
        return f"{self.protocol.value} from {who} to {self.destination}"


class Sent(NamedTuple):
    """What else a rule can match in the first packet of a flow.

    Attributes:
        gid: The group that owns the client socket.
        mark: The socket's mark (``SO_MARK``).
        tos: The TOS or traffic class byte.
        ttl: The TTL or hop limit.
        port: The source port that the check chose; 0 if the kernel chose one.
        payload: Length of the data in a datagram or an echo request, in bytes.
    """

    gid: int = 0
    mark: int = 0
    tos: int = 0
    ttl: int = 64
    port: int = 0
    payload: int = 0


PLAIN = Sent()


@dataclass(frozen=True, slots=True, repr=False)
class Claim(BaseClaim):
    """Whether a fate is the one that a check requires.

    Attributes:
        fate: The actual fate.
    """

    fate: Fate

    @property
    def flow(self) -> str:
        """The flow that the claim is about."""
        return str(self.fate.flow)

    @property
    def seen(self) -> str:
        """The actual fate, in words."""
        return self.fate.seen


def loops(path: Iterable[Acceptance]) -> bool:
    """Whether a listener of the sidecar accepted one destination more than once."""
    capturing = (Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND)
    passes = [(hop.by, hop.destination) for hop in path if hop.by in capturing]
    return len(set(passes)) < len(passes)


@dataclass(frozen=True, slots=True, repr=False)
class Fate:
    """What happened to one flow.

    Attributes:
        flow: What was sent.
        client: The client's own address (``getsockname``); None if no socket was bound.
        path: All acceptances that the flow caused, in order: one if the first acceptor answered,
            more if a sidecar forwarded the flow.
        lost: How the client ended without an answer ("refused", "no answer", "reset",
            "unreachable", "closed"); None when it was answered. If a foreign
            sidecar was seen to accept the flow, that counts as an answer.
        remark: Further observations for the reader of the report.
        sent: Further properties of the flow's packets.
    """

    flow: Flow
    client: Address | None
    path: tuple[Acceptance, ...]
    lost: str | None = None
    remark: str = ""
    sent: Sent = PLAIN

    @property
    def accepted(self) -> Acceptance:
        """The first acceptance, before any forwarding.

        Raises:
            Unmet: No listener accepted the flow. :attr:`accepted_by` does not raise.
        """
        require(Claim(bool(self.path), "accepted by a listener", self))
        return self.path[0]

    @property
    def accepted_by(self) -> Acceptor | None:
        """The acceptor of the first acceptance, or None."""
        return self.path[0].by if self.path else None

    @property
    def loops(self) -> bool:
        """Whether a listener of the sidecar accepted the flow more than once.

        If the sidecar's own connections are captured, the sidecar dials itself.
        """
        return loops(self.path)

    @property
    def seen(self) -> str:
        """The fate in plain words; a loop of any length is one phrase."""
        if self.loops:
            passes = sum(hop.by is not Acceptor.ORIGIN for hop in self.path)
            hops = f"{self.path[0]}, which loops: it passed the sidecar {passes} times"
        else:
            hops = ", then ".join(str(acceptance) for acceptance in self.path)
        if self.lost is None and not hops:
            seen = "answered by a host that the harness does not know"
        elif self.lost is None:
            seen = f"answered through {hops}" if len(self.path) > 1 else f"accepted by {hops}"
        else:
            seen = f"accepted by {hops}, but the client saw: {self.lost}" if hops else self.lost
        return f"{seen}; {self.remark}" if self.remark else seen

    @property
    def captured_outbound(self) -> Claim:
        """Redirected to the sidecar's outbound listener, original destination kept."""
        return self._captured(Acceptor.SIDECAR_OUTBOUND, Route.SIDECAR_OUTBOUND.value)

    @property
    def captured_inbound(self) -> Claim:
        """Redirected to the sidecar's inbound listener, original destination kept."""
        return self._captured(Acceptor.SIDECAR_INBOUND, Route.SIDECAR_INBOUND.value)

    @property
    def direct(self) -> Claim:
        """Answered by the destination itself, which saw the client's own address."""
        holds = (
            self.lost is None
            and len(self.path) == 1
            and self.path[0].by is Acceptor.ORIGIN
            and self.path[0].destination == self.flow.destination
            and self.path[0].peer == self.client
        )
        return Claim(holds, Route.DIRECT.value, self)

    @property
    def never_direct(self) -> Claim:
        """Not answered by the destination directly; captured, or not accepted at all."""
        return Claim(not self.direct.holds, "captured, or not accepted", self)

    @property
    def refused(self) -> Claim:
        """Refused: no listener accepted it, and the client got a reset."""
        return Claim(self.lost == "refused" and not self.path, "refused", self)

    @property
    def unanswered(self) -> Claim:
        """Not accepted by any listener, whatever the client saw."""
        return Claim(self.lost is not None and not self.path, "not accepted", self)

    @property
    def failed_at_once(self) -> Claim:
        """Not accepted by any listener, and the client got an error instead of a time-out."""
        holds = self.lost not in (None, "no answer") and not self.path
        return Claim(holds, "an error at once", self)

    def reached(self, acceptor: Acceptor) -> Claim:
        """Answered first by that listener, at the dialled port."""
        holds = (
            self.lost is None
            and self.accepted_by is acceptor
            and self.path[0].destination == self.flow.destination
        )
        return Claim(holds, f"accepted by {acceptor.value}", self)

    def avoided(self, *acceptors: Acceptor) -> Claim:
        """Not accepted by any of those listeners, at any hop."""
        names = " nor ".join(acceptor.value for acceptor in acceptors)
        return Claim(all(a.by not in acceptors for a in self.path), f"never at {names}", self)

    def passed(self, *acceptors: Acceptor) -> Claim:
        """Answered through exactly these listeners, in this order."""
        holds = self.lost is None and tuple(hop.by for hop in self.path) == acceptors
        names = ", then ".join(acceptor.value for acceptor in acceptors)
        return Claim(holds, f"accepted by {names}, once each, and by no other listener", self)

    @property
    def without_loop(self) -> Claim:
        """Accepted at most once by each listener of the sidecar."""
        return Claim(not self.loops, "accepted at most once by each listener of the sidecar", self)

    @property
    def answered(self) -> Claim:
        """Answered by any listener over any path."""
        return Claim(self.lost is None, "answered", self)

    def ends_within(self, acceptances: int) -> Claim:
        """Accepted at most that many times: it does not loop."""
        return Claim(len(self.path) <= acceptances, f"accepted at most {acceptances} times", self)

    def accepted_at(self, port: int) -> Claim:
        """Accepted first on that local port, by any listener."""
        holds = bool(self.path) and self.path[0].local.port == port
        return Claim(holds, f"accepted on port {port}", self)

    def came_from(self, source: Address) -> Claim:
        """Accepted first from that source address and port."""
        holds = bool(self.path) and self.path[0].peer == source
        return Claim(holds, f"accepted from {source}", self)

    @property
    def at_dialled_address(self) -> Claim:
        """Accepted first by a socket with the dialled address and port as its own.

        A flow that a rule of the pod redirects to another address of the pod arrives there with
        the dialled one as its original destination. It misses a server that is bound to the
        dialled address.
        """
        holds = bool(self.path) and self.path[0].local == self.flow.destination
        return Claim(holds, f"accepted at {self.flow.destination} itself", self)

    def translated_to(self, destination: Address) -> Claim:
        """First accepted with that address as destination."""
        holds = bool(self.path) and self.path[0].destination == destination
        return Claim(holds, f"accepted on its way to {destination}", self)

    def forwarded_to(self, destination: Address) -> Claim:
        """Accepted twice, the second time with that address as destination."""
        holds = len(self.path) > 1 and self.path[1].destination == destination
        return Claim(holds, f"forwarded to {destination}", self)

    def captured_outbound_as(self, destination: Address) -> Claim:
        """Redirected to the sidecar's outbound listener, with that original destination."""
        expected = f"{Route.SIDECAR_OUTBOUND.value} on its way to {destination}"
        return self._captured(Acceptor.SIDECAR_OUTBOUND, expected, destination)

    def captured_inbound_as(self, destination: Address) -> Claim:
        """Redirected to the sidecar's inbound listener, with that original destination."""
        expected = f"{Route.SIDECAR_INBOUND.value} on its way to {destination}"
        return self._captured(Acceptor.SIDECAR_INBOUND, expected, destination)

    def takes(self, route: Route) -> Claim:
        """The claim that the flow took the route that the oracle expects."""
        if route is Route.SIDECAR_OUTBOUND:
            return self.captured_outbound
        return self.captured_inbound if route is Route.SIDECAR_INBOUND else self.direct

    def _captured(self, by: Acceptor, expected: str, to: Address | None = None) -> Claim:
        holds = (
            self.lost is None
            and self.accepted_by is by
            and self.path[0].destination == (to or self.flow.destination)
        )
        return Claim(holds, expected, self)

    def __repr__(self) -> str:
        return f"<Fate of {self.flow}: {self.seen}>"
