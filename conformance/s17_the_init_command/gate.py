"""The check that an implementation has to pass for the others to run."""

from __future__ import annotations

from pytest_fsmredir import Mesh, Profile, Section

section = Section(17, Profile.CORE)


@section.check("SELF-001", "17.12")
def test_pod_without_lists_is_programmed(mesh: Mesh) -> None:
    """A pod without any list MUST be programmed without a refusal."""
    assert mesh.try_pod().programmed
