"""Send a failed flow once more, and capture its packets in the pod and at the other end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from pytest_fsmredir.agent.forms import bytes_of
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.mesh.places import KubePlace
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.backends.sending_again import NUMBERS, send_again, trace_text
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.flow import Fate
from pytest_fsmredir.traffic.tracing import TracedRule

_SOON_S: Final = 0.5
"""How long the second try of a flow may take."""

Sides = tuple[KubePod, KubePlace]


def captured(
    pod: KubePod,
    other: KubePlace,
    fate: Fate,
    iptables: IptablesVariant,
    *,
    timeout_s: float,
) -> dict[str, str | bytes]:
    """Send a flow again; return what both ends saw, and the kernel's trace, as files.

    The container for evidence captures and traces in the pod. Where the cluster admits none, the
    pod's own agent captures, and nothing is traced.

    Args:
        pod: The pod.
        other: The place at the other end.
        fate: What became of the flow before.
        iptables: The variant of the pod's rules.
        timeout_s: Seconds that a flow of the check may take.

    Raises:
        BackendError: No agent may capture packets in the pod.
    """
    untraced = ""
    if iptables is IptablesVariant.LEGACY:
        untraced = "a container may not make the kernel log what legacy iptables traces"
    try:
        inside = pod.guest.link
        if not untraced:
            inside.ask(APP, "trace")
    except BackendError as why:
        untraced = str(why)
        inside = pod.link
    inside.ask(APP, "capture")
    outside = None if other.site is pod.site else other.link
    if outside is not None:
        outside.ask(APP, "capture")
    with _hurried([pod.link, other.link], timeout_s):
        send_again(other, pod, fate)
    files: dict[str, str | bytes] = {"packets-in-pod.pcap": _packets(inside)}
    if outside is not None:  # it can be a node, whose other packets are nobody's business
        files["packets-outside.pcap"] = _packets(outside, pod.addresses)
    if untraced:
        return {**files, "trace.txt": f"# not traced: {untraced}\n"}
    number = NUMBERS[fate.flow.protocol, fate.flow.destination.family]
    rules = inside.ask(APP, "traced", protocol=number)
    matched = None if rules is None else [TracedRule(*rule) for rule in rules]
    return {**files, "trace.txt": trace_text(matched)}


def _packets(link: AgentLink, hosts: Sequence[str] = ()) -> bytes:
    return bytes_of(link.ask(APP, "captured", hosts=list(hosts)))


@contextmanager
def _hurried(links: Sequence[AgentLink], timeout_s: float) -> Iterator[None]:
    """Shorten the time limit of agents for the block."""
    try:
        for link in links:
            _limit(link, _SOON_S)
        yield
    finally:
        for link in links:
            with suppress(BackendError):  # the link is gone, which the next check says
                _limit(link, timeout_s)


def _limit(link: AgentLink, timeout_s: float) -> None:
    link.ask(APP, "hello", number=link.numbers[APP], timeout_s=timeout_s)
