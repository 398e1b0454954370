"""Send a failed flow once more, and capture its packets at both ends of the pod's link."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.source import NetnsSource
from pytest_fsmredir.backends.netns.tracing import traced
from pytest_fsmredir.backends.netns.wiring import open_tap
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import PLAIN, Address, Direction, Fate, Protocol
from pytest_fsmredir.traffic.dial import Sending
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.pcap import drained, every_interface, pcap, with_times
from pytest_fsmredir.traffic.socket_options import marked

_NUMBERS: Final = {
    (Protocol.TCP, 4): socket.IPPROTO_TCP,
    (Protocol.TCP, 6): socket.IPPROTO_TCP,
    (Protocol.UDP, 4): socket.IPPROTO_UDP,
    (Protocol.UDP, 6): socket.IPPROTO_UDP,
    (Protocol.ICMP, 4): socket.IPPROTO_ICMP,
    (Protocol.ICMP, 6): socket.IPPROTO_ICMPV6,
}
_SOON_S: Final = 0.15
"""How long the second try of a flow may take."""


def captured(
    source: NetnsSource, client: NetnsPlace, pod: NetnsPod, fate: Fate, *, legacy: bool
) -> dict[str, str | bytes]:
    """Send a flow again; return what both ends of the link saw, and the kernel's trace, as files.

    Args:
        source: Where the pod is from.
        client: The client of an inbound flow.
        pod: The pod.
        fate: What became of the flow before.
        legacy: Whether the pod has rules of legacy iptables.
    """
    with ExitStack() as opened:
        inside = pod.site.namespace.run(every_interface)
        taps = {"packets-in-pod.pcap": opened.enter_context(inside)}
        with suppress(OSError):  # the implementation can have removed the link
            outside = with_times(open_tap(source.world, pod.site.link))
            taps["packets-outside.pcap"] = opened.enter_context(outside)
        with _hurried(pod.host, source.outside):
            trace = _traced(client, pod, fate, legacy=legacy)
        return {"trace.txt": trace, **{name: pcap(drained(tap)) for name, tap in taps.items()}}


def _traced(client: NetnsPlace, pod: NetnsPod, fate: Fate, *, legacy: bool) -> str:
    """Send a flow again; return the rules that its first packets match, by the kernel."""
    family = fate.flow.destination.family
    try:
        with traced(pod.site.namespace, family, legacy=legacy) as tracer:
            _again(client, pod, fate)
            matched = tracer.matched(_NUMBERS[fate.flow.protocol, family])
    except BackendError as why:
        _again(client, pod, fate)
        return f"# not traced: {why}\n"
    if matched is None:
        return "# the kernel dropped reports\n"
    lines = (
        f"{rule.variant} {rule.family} {rule.table} {rule.chain} #{rule.number}" for rule in matched
    )
    return "\n".join(["# the rules that the first packets match, in order", *lines, ""])


def _again(client: NetnsPlace, pod: NetnsPod, fate: Fate) -> None:
    """Send a flow once more, whatever becomes of it."""
    with suppress(Unmet, BackendError, OSError):
        _send(client, pod, fate)


def _send(client: NetnsPlace, pod: NetnsPod, fate: Fate) -> None:
    flow = fate.flow
    outbound = flow.direction is Direction.OUTBOUND
    place = pod if outbound else client
    host, port = flow.destination
    if flow.protocol is Protocol.ICMP:
        place.ping(host, uid=flow.uid)
    elif flow.protocol is Protocol.UDP:
        place.datagram(host, port, **_as_before(fate))
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
    if sent != PLAIN._replace(gid=sent.gid, port=sent.port):
        found["prepare"] = prepare
    if sent.port and fate.client is not None:
        found["source"] = Address(fate.client.host, sent.port)
    return found


@contextmanager
def _hurried(*hosts: Host) -> Iterator[None]:
    """Shorten the timeout of hosts for the block."""
    before = [host.timeout_s for host in hosts]
    for host in hosts:
        host.timeout_s = _SOON_S
    try:
        yield
    finally:
        for host, timeout_s in zip(hosts, before, strict=True):
            host.timeout_s = timeout_s
