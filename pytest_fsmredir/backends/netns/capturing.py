"""Send a failed flow once more, and capture its packets at both ends of the pod's link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.source import NetnsSource
from pytest_fsmredir.backends.netns.tracing import traced
from pytest_fsmredir.backends.netns.wiring import open_tap
from pytest_fsmredir.backends.sending_again import NUMBERS, send_again, trace_text
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.flow import Fate
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.pcap import drained, every_interface, pcap, with_times

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
            send_again(client, pod, fate)
            matched = tracer.matched(NUMBERS[fate.flow.protocol, family])
    except BackendError as why:
        send_again(client, pod, fate)
        return f"# not traced: {why}\n"
    return trace_text(matched)


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
