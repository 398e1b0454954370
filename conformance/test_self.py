"""The gate: an implementation that fails here is not judged any further."""

from __future__ import annotations

from pytest_fsmredir import MUST, Mesh, Profile, check


@check(
    "SELF-001",
    requirement="A pod without any list MUST be programmed without a refusal.",
    spec="SPEC-17.12",
    level=MUST,
    profile=Profile.CORE,
)
def test_pod_without_lists_is_programmed(mesh: Mesh) -> None:
    assert mesh.try_pod().programmed
