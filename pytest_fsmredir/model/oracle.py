"""The document as code: the route that a flow must take under a policy, and how binding that is.

It never reads rules.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.flow import Direction, Flow, Protocol, Route
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
    SIDECAR_UID,
)

_NEVER_EXCLUDED = (ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT)
"""Inbound ports that no exclusion opens to the network (SPEC.md, reserved ports)."""


def expected(policy: Policy, flow: Flow, own_addresses: Collection[str]) -> Route:
    """Return where a flow must arrive first.

    Args:
        policy: The pod's effective policy.
        flow: The flow, seen from the pod.
        own_addresses: Every address of the pod except loopback.

    Returns:
        The route. ``DIRECT`` for a port of the sidecar that is served from outside (15010,
        15901-15904) means: the listener on that very port.
    """
    if flow.protocol is not Protocol.TCP:
        return Route.DIRECT
    if flow.direction is Direction.INBOUND:
        return _inbound(policy, flow)
    return _outbound(policy, flow, own_addresses)


def level_of(policy: Policy, flow: Flow, primary_address: str) -> Level:
    """Return the level of the sentences that decide the fate of a flow."""
    if flow.protocol is not Protocol.TCP:
        return Level.MUST
    if flow.interface in policy.network_interface_exclusion_list:
        return Level.SHOULD  # SPEC-12.5
    if flow.direction is Direction.INBOUND:
        return Level.MUST if flow.destination.host == primary_address else Level.SHOULD  # SPEC-2.4
    if flow.destination.host == primary_address:
        return Level.SHOULD  # SPEC-7.3, SPEC-7.4
    if ip_address(flow.destination.host).is_loopback:
        is_must = flow.destination.host == "127.0.0.1" or flow.uid == SIDECAR_UID
        return Level.MUST if is_must else Level.SHOULD  # SPEC-7.1, SPEC-6.1; SPEC-7.2
    return Level.SHOULD if _is_contested(policy, flow) else Level.MUST


def _inbound(policy: Policy, flow: Flow) -> Route:
    port = flow.destination.port
    left_alone = (
        flow.interface in policy.network_interface_exclusion_list
        or port in SERVED_PORTS
        or (port in policy.inbound_port_exclusion_list and port not in _NEVER_EXCLUDED)
    )
    return Route.DIRECT if left_alone else Route.SIDECAR_INBOUND


def _outbound(policy: Policy, flow: Flow, own_addresses: Collection[str]) -> Route:
    address = ip_address(flow.destination.host)
    if flow.destination.host in own_addresses:
        # A flow of the sidecar to its own pod is a self-call that must pass the inbound listener
        # (SPEC.md, local traffic). A flow of the application to itself stays inside the pod.
        return Route.SIDECAR_INBOUND if flow.uid == SIDECAR_UID else Route.DIRECT
    left_alone = (
        address.is_loopback
        or flow.uid == SIDECAR_UID
        or flow.interface in policy.network_interface_exclusion_list
        or flow.destination.port in policy.outbound_port_exclusion_list
        or _within(address, policy.outbound_ip_range_exclusion_list)
        or not _included(address, policy.outbound_ip_range_inclusion_list)
    )
    return Route.DIRECT if left_alone else Route.SIDECAR_OUTBOUND


def _included(address: IPv4Address | IPv6Address, ranges: tuple[Network, ...]) -> bool:
    return not ranges or _within(address, ranges)


def _within(address: IPv4Address | IPv6Address, ranges: tuple[Network, ...]) -> bool:
    return any(address in network for network in ranges)


def _is_contested(policy: Policy, flow: Flow) -> bool:
    """Whether an exclusion and an inclusion both cover an application's flow (SPEC-12.3)."""
    if flow.uid == SIDECAR_UID:
        return False
    address = ip_address(flow.destination.host)
    included = any(address in each for each in policy.outbound_ip_range_inclusion_list)
    excluded = flow.destination.port in policy.outbound_port_exclusion_list or any(
        address in each for each in policy.outbound_ip_range_exclusion_list
    )
    return included and excluded
