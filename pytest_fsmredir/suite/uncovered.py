"""Find the traffic that bypasses the sidecar over IPv6 if IPv6 is not claimed."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.model.flow import Acceptor
from pytest_fsmredir.model.reserved import ADMIN_PORT, SIDECAR_UID

_PORT = 8080
UNCLAIMED = "IPv6 is declared as not claimed"
"""The start of each remark."""


def open_over_ipv6(mesh: JudgedMesh) -> Iterator[str]:
    """Send flows over IPv6, and yield what they find open, as remarks without a verdict.

    Args:
        mesh: A mesh of IPv6.
    """
    pod = mesh.pod()
    if pod.connect(mesh.server, _PORT).direct:
        yield f"{UNCLAIMED}: outbound TCP over IPv6 bypasses the sidecar (V6-001)"
    if mesh.client.connect(pod, _PORT).direct:
        yield f"{UNCLAIMED}: inbound TCP over IPv6 bypasses the sidecar (V6-002)"
    # FSM's sidecar listens on this port on every address of the pod.
    pod.listen(ADMIN_PORT, host=pod.address, uid=SIDECAR_UID)
    if not mesh.client.connect(pod, ADMIN_PORT).avoided(Acceptor.ADMIN, Acceptor.ORIGIN):
        yield f"{UNCLAIMED}: the admin port 15000 is reachable from outside over IPv6 (RES-003)"
