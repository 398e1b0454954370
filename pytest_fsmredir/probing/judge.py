"""Decide a flow's requirement level, and whether its fate matches the oracle."""

from __future__ import annotations

from ipaddress import ip_address

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.flow import Acceptor, Claim, Direction, Fate, Flow, Protocol, Route
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import (
    HEALTH_PORT,
    LIVENESS_PORT,
    METRICS_PORT,
    READINESS_PORT,
    SIDECAR_UID,
    STARTUP_PORT,
)

_SERVED_BY = {
    METRICS_PORT: Acceptor.METRICS,
    LIVENESS_PORT: Acceptor.LIVENESS,
    READINESS_PORT: Acceptor.READINESS,
    STARTUP_PORT: Acceptor.STARTUP,
    HEALTH_PORT: Acceptor.HEALTH,
}


def claim(route: Route, fate: Fate) -> Claim:
    """Return the claim that a fate matches the route that the oracle expects."""
    flow = fate.flow
    to_sidecar = flow.direction is Direction.INBOUND and flow.protocol is Protocol.TCP
    if route is Route.DIRECT and to_sidecar and flow.destination.port in _SERVED_BY:
        return fate.reached(_SERVED_BY[flow.destination.port])
    return fate.takes(route)


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
