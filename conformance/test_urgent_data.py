"""Urgent data of TCP, which passes the redirection like the rest of a stream."""

from __future__ import annotations

from pytest_fsmredir import MUST, Mesh, Need, Profile, check

URGENT, AFTERWARDS = b"!", b"what comes behind urgent data"


@check(
    "OUT-023",
    requirement="Urgent data of a connection MUST arrive, and what is sent behind it: captured"
    " outbound, captured inbound, or direct.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.ANSWERING_SIDECAR},
)
def test_urgent_data_passes_the_redirection(mesh: Mesh) -> None:
    pod = mesh.pod()

    with (
        pod.open(mesh.server, 8080) as outbound,
        mesh.client.open(pod, 8080) as inbound,
        pod.open(mesh.server, 8080, uid=1500) as direct,
    ):
        assert outbound.fate_by_banner.captured_outbound
        assert inbound.fate_by_banner.captured_inbound
        assert direct.fate_by_banner.direct
        for connection in (outbound, inbound, direct):
            connection.send(URGENT, urgent=True)
            connection.send(AFTERWARDS)
            assert connection.half_closes(mesh.timeout_s)
            assert connection.has_received(URGENT + AFTERWARDS)
