"""Send a failed flow once more, for its evidence."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import PLAIN, Address, Direction, Fate, Protocol
from pytest_fsmredir.traffic.dial import Sending
from pytest_fsmredir.traffic.socket_options import marked
from pytest_fsmredir.traffic.tracing import TracedRule

NUMBERS: Final = {
    (Protocol.TCP, 4): socket.IPPROTO_TCP,
    (Protocol.TCP, 6): socket.IPPROTO_TCP,
    (Protocol.UDP, 4): socket.IPPROTO_UDP,
    (Protocol.UDP, 6): socket.IPPROTO_UDP,
    (Protocol.ICMP, 4): socket.IPPROTO_ICMP,
    (Protocol.ICMP, 6): socket.IPPROTO_ICMPV6,
}
"""The number of a protocol in the header of an IP version."""


def trace_text(matched: Iterable[TracedRule] | None) -> str:
    """Return the rules of a trace as the text of a file; None if the kernel dropped reports."""
    if matched is None:
        return "# the kernel dropped reports\n"
    lines = (
        f"{rule.variant} {rule.family} {rule.table} {rule.chain} #{rule.number}" for rule in matched
    )
    return "\n".join(["# the rules that the first packets match, in order", *lines, ""])


def send_again(client: Place, pod: Place, fate: Fate) -> None:
    """Send a flow once more, whatever becomes of it.

    Args:
        client: The client of an inbound flow.
        pod: The pod.
        fate: What became of the flow before.
    """
    with suppress(Unmet, BackendError, OSError):
        _send(client, pod, fate)


def _send(client: Place, pod: Place, fate: Fate) -> None:
    flow = fate.flow
    outbound = flow.direction is Direction.OUTBOUND
    place = pod if outbound else client
    host, port = flow.destination
    if flow.protocol is Protocol.ICMP:
        place.ping(host, uid=flow.uid, payload=bytes(fate.sent.payload))
    elif flow.protocol is Protocol.UDP:
        place.datagram(host, port, payload=bytes(fate.sent.payload), **_as_before(fate))
    else:
        place.connect(host, port, gid=fate.sent.gid, **_as_before(fate))


def _as_before(fate: Fate) -> Sending:
    """Return the keywords that give a flow the source port and header fields of the last one."""
    sent, family = fate.sent, fate.flow.destination.family

    def prepare(sock: socket.socket) -> None:
        marked(sent.mark)(sock)
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, sent.tos)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, sent.ttl)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, sent.tos)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, sent.ttl)

    found = Sending()
    if fate.flow.uid is not None:
        found["uid"] = fate.flow.uid
    if sent != PLAIN._replace(gid=sent.gid, port=sent.port, payload=sent.payload):
        found["prepare"] = prepare
    if sent.port and fate.client is not None:
        found["source"] = Address(fate.client.host, sent.port)
    return found
