"""Decide whether the fate of a flow matches the oracle."""

from __future__ import annotations

from pytest_fsmredir.model.flow import Acceptor, Claim, Direction, Fate, Protocol, Route
from pytest_fsmredir.model.reserved import (
    HEALTH_PORT,
    LIVENESS_PORT,
    METRICS_PORT,
    READINESS_PORT,
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
