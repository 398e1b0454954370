"""The first packet of a failed flow, and the fate that the document requires for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from pytest_fsmredir.model.flow import (
    Acceptor,
    Address,
    Claim,
    Direction,
    Fate,
    Flow,
    Protocol,
    Route,
    Sent,
)
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.rules.ends import EndKind
from pytest_fsmredir.rules.packet import (
    APPLICATION_UID,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Packet,
    headers_of,
    text_of,
)
from pytest_fsmredir.rules.pod import Surroundings

KINDS: Final = {
    Route.DIRECT: EndKind.DIRECT,
    Route.SIDECAR_OUTBOUND: EndKind.CAPTURED_OUTBOUND,
    Route.SIDECAR_INBOUND: EndKind.CAPTURED_INBOUND,
}
_ACCEPTORS: Final = {
    Acceptor.SIDECAR_OUTBOUND: Route.SIDECAR_OUTBOUND,
    Acceptor.SIDECAR_INBOUND: Route.SIDECAR_INBOUND,
}
_CLOSED: Final = ("captured, or", "never at", "refused", "not accepted", "an error at once")
"""Claims that are true of a flow to a closed port if, and only if, the flow is captured."""
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - no socket is bound
_REMOTE: Final = {4: "203.0.113.20", 6: "2001:db8:c::20"}


@dataclass(frozen=True, slots=True)
class SentPacket:
    """One packet that was sent, and the fate that it should have.

    Attributes:
        packet: The packet as the rules see it.
        flow: The flow that it belongs to.
        wanted: The required fate.
        port: The source port that the check chose; 0 if the kernel chose one.
    """

    packet: Packet
    flow: Flow
    wanted: EndKind
    port: int = 0


def sendings(claim: Claim, policy: Policy, pod: Surroundings) -> Iterator[SentPacket]:
    """Yield the packets of a failed flow in the order of their suspicion.

    These are the packet of the client, and that of the sidecar if the sidecar forwards the flow. If
    the flow loops, the sidecar's own packet comes first.

    Args:
        claim: The false claim.
        policy: The policy of the pod.
        pod: The addresses of the pod.
    """
    fate = claim.fate
    flow = _seen_from(fate, pod)
    packet = _packet(flow, fate.client, fate.sent, pod)
    first = SentPacket(packet, flow, _required(claim, flow, policy, pod), fate.sent.port)
    forwarded = _forwarded(fate, pod)
    order = [first] if forwarded is None else [first, forwarded]
    yield from reversed(order) if fate.loops else order


def _seen_from(fate: Fate, pod: Surroundings) -> Flow:
    """Return the flow as seen from the pod: one from another pod is inbound."""
    flow, client = fate.flow, fate.client
    if flow.direction is Direction.INBOUND or client is None or _inside(client.host, pod):
        return flow
    if flow.destination.host not in pod.texts():
        return flow
    return Flow(Direction.INBOUND, flow.destination, flow.protocol, interface=flow.interface)


def _required(claim: Claim, flow: Flow, policy: Policy, pod: Surroundings) -> EndKind:
    """Return the fate that a claim, or else the document, requires in this pod."""
    if claim.expected.startswith("accepted on port"):
        return EndKind.ELSEWHERE  # a rule of someone else redirects it
    wanted = _wanted(claim.expected, flow)
    leaves = flow.direction is Direction.OUTBOUND and not _inside(flow.destination.host, pod)
    other = Route.SIDECAR_INBOUND if leaves else Route.SIDECAR_OUTBOUND
    if wanted is None or (wanted is other and not _inside_pod(flow, pod)):
        wanted = expected(policy, flow, pod.texts())  # the claim is about the other pod
    return KINDS[wanted]


def _inside_pod(flow: Flow, pod: Surroundings) -> bool:
    return flow.direction is Direction.OUTBOUND and _inside(flow.destination.host, pod)


def _wanted(words: str, flow: Flow) -> Route | None:
    """Return the route that a claim requires; None if it names none."""
    alternatives = words.split(" or ")
    if Route.DIRECT.value in alternatives:
        return Route.DIRECT
    for acceptor in Acceptor:
        if words.startswith(f"accepted by {acceptor.value}"):
            return _ACCEPTORS.get(acceptor, Route.DIRECT)
    for route in _ACCEPTORS.values():
        if words.startswith(route.value):
            return route
    if flow.protocol is Protocol.TCP and words.startswith(_CLOSED):
        inbound = flow.direction is Direction.INBOUND
        return Route.SIDECAR_INBOUND if inbound else Route.SIDECAR_OUTBOUND
    return None


def _packet(flow: Flow, client: Address | None, sent: Sent, pod: Surroundings) -> Packet:
    host, port = flow.destination
    family = flow.destination.family
    outbound = flow.direction is Direction.OUTBOUND
    inside = outbound and _inside(host, pod)
    source = client if client is not None and client.host not in _ANYWHERE else None
    default = host if inside else _first(pod, family) if outbound else _REMOTE[family]
    protocol = {
        Protocol.TCP: TCP,
        Protocol.UDP: UDP,
        Protocol.ICMP: ICMP if family == 4 else ICMPV6,
    }
    return Packet(
        direction=flow.direction,
        family=family,
        source=int(ip_address(source.host if source else default)),
        source_port=source.port if source and source.port else 40000,
        destination=int(ip_address(host)),
        port=port,
        interface="lo" if inside else flow.interface,
        protocol=protocol[flow.protocol],
        uid=APPLICATION_UID if flow.uid is None else flow.uid,
        gid=sent.gid,
        mark=sent.mark,
        tos=sent.tos,
        ttl=sent.ttl,
        length=_length(protocol[flow.protocol], family, sent),
        icmp_type=(8 if family == 4 else 128) if flow.protocol is Protocol.ICMP else 0,
    )


def _length(protocol: int, family: int, sent: Sent) -> int:
    """Return the length of a packet; that of a SYN is the usual one, as options may be missing."""
    if protocol != TCP:
        return headers_of(protocol, family) + sent.payload
    return 60 if family == 4 else 80


def _forwarded(fate: Fate, pod: Surroundings) -> SentPacket | None:
    """Return the sidecar's own packet of a flow that it forwards; None if it forwards none."""
    hop = next((each for each in fate.path if each.by in _ACCEPTORS), None)
    if hop is None or (len(fate.path) < 2 and fate.lost is None):
        return None
    to = hop.destination
    if hop.by is Acceptor.SIDECAR_INBOUND:
        to = Address("127.0.0.1" if to.family == 4 else "::1", to.port)
    flow = Flow(Direction.OUTBOUND, to, uid=SIDECAR_UID, interface=fate.flow.interface)
    own = to.host in pod.texts()
    wanted = EndKind.CAPTURED_INBOUND if own else EndKind.DIRECT
    return SentPacket(_packet(flow, None, Sent(), pod), flow, wanted)


def of_packet(packet: Packet, wanted: EndKind) -> SentPacket:
    """Return a packet of the model as one that was sent."""
    protocol = {UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMPV6: Protocol.ICMP}
    flow = Flow(
        packet.direction,
        Address(text_of(packet.destination, packet.family), packet.port),
        protocol.get(packet.protocol, Protocol.TCP),
        packet.uid if packet.direction is Direction.OUTBOUND else None,
        packet.interface,
    )
    return SentPacket(packet, flow, wanted)


def _inside(host: str, pod: Surroundings) -> bool:
    return host in pod.texts() or ip_address(host).is_loopback


def _first(pod: Surroundings, family: int) -> str:
    return next(text for text in pod.texts() if (":" in text) == (family == 6))
