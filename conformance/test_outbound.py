"""Outbound capture."""

from __future__ import annotations

from pytest_fsmredir import MUST, Mesh, Profile, check


@check(
    "OUT-001",
    requirement="TCP from the application to a remote address MUST reach the sidecar's outbound"
    " listener.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_remote_address_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct
