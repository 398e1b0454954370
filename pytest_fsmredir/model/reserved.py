"""The ports and user ids that FSM reserves (seed, "Ports reserved" and "Application User ID").

Also the addresses that a sidecar listens on.
"""

from __future__ import annotations

from typing import Final

SIDECAR_UID: Final = 1500

ADMIN_PORT: Final = 15000
OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15003
METRICS_PORT: Final = 15010
LIVENESS_PORT: Final = 15901
READINESS_PORT: Final = 15902
STARTUP_PORT: Final = 15903
HEALTH_PORT: Final = 15904

SERVED_PORTS: Final = (METRICS_PORT, LIVENESS_PORT, READINESS_PORT, STARTUP_PORT, HEALTH_PORT)
"""Ports that clients outside the pod reach directly, without inbound redirection."""

LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
ANY: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - the sidecar listens on every address of its pod

GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}
"""The gateway of each pod in a network namespace."""
