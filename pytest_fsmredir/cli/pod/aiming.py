"""Choose the flows that are safe to send to and from a foreign pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from pytest_fsmredir.cli.pod.finding import Found
from pytest_fsmredir.model.flow import Direction, Protocol
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import INBOUND_PORT, SIDECAR_UID
from pytest_fsmredir.probing.aim import (
    RESERVED_PORTS,
    ProbeFlow,
    ProbeTargets,
    outside_addresses,
    probes,
)

SILENT = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Documentation addresses (RFC 5737, RFC 3849) without a host. They are never dialled."""


@dataclass
class Aim:
    """The flows to send, and the flows to leave out.

    Attributes:
        sent: The flows to send, in a possible order.
        left_out: The flows that are not sent, by reason.
        undialled: Addresses of useful flows that no host in the cluster answers for.
    """

    sent: list[ProbeFlow] = field(default_factory=list)
    left_out: dict[str, list[ProbeFlow]] = field(default_factory=dict)
    undialled: tuple[str, ...] = ()


def aim(
    found: Found, policy: Policy, *, server: str, pod: str, loopback: str, ranges: Sequence[str]
) -> Aim:
    """Return the flows at the boundaries of a policy, separated into those to send and others.

    Args:
        found: The pod.
        policy: The policy of the pod.
        server: A host of ours in the cluster.
        pod: The pod's address, of the server's IP version.
        loopback: The loopback address of that version.
        ranges: Addresses outside the cluster that its nodes answer for.
    """
    family = ip_address(pod).version
    anywhere = ProbeTargets(
        family=family, server=server, pod=pod, loopback=loopback, silent=SILENT[family]
    )
    scene = replace(anywhere, answered=tuple(map(ip_network, ranges)))
    dialled = set(outside_addresses(policy, scene))
    wanted = outside_addresses(policy, anywhere)
    made = Aim(undialled=tuple(each for each in wanted if each not in dialled))
    for probe in probes(policy, scene):
        if why := _obstacle(probe, found, scene):
            made.left_out.setdefault(why, []).append(probe)
        else:
            made.sent.append(probe)
    return made


def _obstacle(probe: ProbeFlow, found: Found, scene: ProbeTargets) -> str:
    """Return why a flow is not sent; empty if it is."""
    flow = probe.flow
    host, port = flow.destination
    own = host == scene.pod or ip_address(host).is_loopback
    if found.on_host_network and own:
        return "into the pod, because the command starts no listener on the network of a node"
    if flow.uid == SIDECAR_UID and host == scene.pod:
        return "of the sidecar to its own pod, which a mesh need not support"
    inbound = flow.direction is Direction.INBOUND
    if not found.is_injected and inbound and port in RESERVED_PORTS:
        return "to ports of a sidecar, because the pod has no sidecar"
    if inbound and port == INBOUND_PORT:
        return f"to port {port}, where the sidecar gets them with and without rules"
    bound = probe.source_port if flow.uid is not None else None
    listening = port if own and flow.protocol is Protocol.UDP else None
    if {bound, listening} & found.declared_ports:
        return "that would take a port from the application"
    return ""
