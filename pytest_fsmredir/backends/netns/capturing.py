"""Send a failed flow once more, and capture its packets at both ends of the pod's link."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.source import NetnsSource
from pytest_fsmredir.backends.netns.wiring import open_tap
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Direction, Fate, Protocol
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.pcap import drained, pcap, with_times
from pytest_fsmredir.traffic.tap import ETH_P_ALL

_SOON_S: Final = 0.15
"""How long the second try of a flow may take."""


def captured(
    source: NetnsSource, client: NetnsPlace, pod: NetnsPod, fate: Fate
) -> dict[str, bytes]:
    """Send a flow again; return what both ends of the link saw, as pcap files by name."""
    with ExitStack() as opened:
        inside = pod.site.namespace.run(_every_interface)
        taps = {"packets-in-pod.pcap": opened.enter_context(inside)}
        with suppress(OSError):  # the implementation can have removed the link
            outside = with_times(open_tap(source.world, pod.site.link))
            taps["packets-outside.pcap"] = opened.enter_context(outside)
        with _hurried(pod.host, source.outside), suppress(Unmet, BackendError, OSError):
            _again(client, pod, fate)
        return {name: pcap(drained(tap)) for name, tap in taps.items()}


def _again(client: NetnsPlace, pod: NetnsPod, fate: Fate) -> None:
    flow = fate.flow
    outbound = flow.direction is Direction.OUTBOUND
    place = pod if outbound else client
    host, port = flow.destination
    if flow.protocol is Protocol.ICMP:
        place.ping(host, uid=flow.uid)
    elif flow.protocol is Protocol.UDP:
        place.datagram(host, port, uid=flow.uid)
    else:
        place.connect(host, port, uid=flow.uid, gid=fate.sent.gid)


def _every_interface() -> socket.socket:
    """Return a packet socket for all interfaces of the calling thread's namespace."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    return with_times(socket.socket(socket.AF_PACKET, kind, socket.htons(ETH_P_ALL)))


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
