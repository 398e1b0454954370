"""Facets: what a check asks for in its signature, and what a backend makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_fsmredir import (
    ForeignPrograms,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Need,
    Profile,
    Sabotage,
    SearchTools,
    Section,
    Taps,
    Workloads,
)
from pytest_fsmredir.backends.facets import MadeFacets
from pytest_fsmredir.backends.netns.facets import FACETS
from pytest_fsmredir.backends.netns.packets import NetnsTaps
from pytest_fsmredir.errors import BackendError, CatalogueError
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.model.facets import Body, Facet, call, needs_met_by, needs_of
from pytest_fsmredir.model.sections import checks_of

SPEC = {"SPEC-1.1": Sentence("SPEC-1.1", "", "", "", "It MUST.")}


class FakeMesh:
    """A mesh that makes nothing but the name of a facet."""

    def facet(self, kind: type[Facet]) -> Facet:
        return kind.__name__  # type: ignore[return-value]


def marked(function: Body, *needs: Need) -> Check:
    function.__doc__ = "It MUST."
    Section(1, Profile.CORE).check("ABC-001", "1.1", needs=needs)(function)
    (made,) = checks_of(SimpleNamespace(function=function), SPEC)
    return made


def of_mesh_and_taps(mesh: Mesh, taps: Taps) -> None:
    assert isinstance(mesh, FakeMesh)
    assert taps == "Taps"  # type: ignore[comparison-overlap]


def of_workloads(workloads: Workloads) -> None:
    assert workloads == "Workloads"  # type: ignore[comparison-overlap]


def of_something(mesh: Mesh, number: int) -> None:
    del mesh, number


def of_sabotage(mesh: Mesh, sabotage: Sabotage) -> None:
    del mesh, sabotage


def test_check_gets_what_its_signature_asks_for() -> None:
    """Catches: facets in the wrong order, or a mesh in place of a facet."""
    call(of_mesh_and_taps, FakeMesh())
    call(of_workloads, FakeMesh())


def test_facets_that_belong_together_are_made_together() -> None:
    """Catches: a search that runs without one of its facets, or with two swapped."""

    def search(mesh: Mesh, tools: SearchTools) -> None:
        del mesh
        names = [*map(str, (tools.programs, tools.kernel, tools.taps, tools.forged))]
        assert names == ["ForeignPrograms", "KernelSettings", "Taps", "ForgedPackets"]

    call(search, FakeMesh())
    apart = (ForeignPrograms, KernelSettings, Taps, ForgedPackets)
    assert marked(search).needs == needs_met_by(apart)


def test_needs_follow_from_the_signature() -> None:
    """Catches: a check that runs on a backend without its facet."""
    assert marked(of_mesh_and_taps, Need.WEBHOOK).needs == {Need.TAP, Need.WEBHOOK}
    assert marked(of_workloads).needs == {Need.WORKLOADS}
    assert needs_of("ABC-001", of_sabotage, ()) == {Need.SABOTAGE, Need.PROGRAMMING}


def test_need_of_a_facet_is_not_declared_again() -> None:
    """Catches: a declared need that stays when the facet goes."""
    with pytest.raises(CatalogueError, match="already implies the need"):
        marked(of_mesh_and_taps, Need.TAP)


def test_parameter_that_is_no_facet_is_refused() -> None:
    """Catches: a misspelled annotation, found only when the check runs."""
    with pytest.raises(CatalogueError, match="of_something: parameter number is not annotated"):
        marked(of_something)


def test_backend_meets_the_needs_of_the_facets_that_it_makes() -> None:
    """Catches: a facet in the list that meets no need, so that no check gets it."""
    assert needs_met_by([NetnsTaps]) == {Need.TAP}
    assert all(needs_met_by([each]) for each in FACETS)


def test_facet_is_made_once_for_a_mesh() -> None:
    """Catches: a facet that forgets its state within a check."""
    facets = MadeFacets(FakeMesh(), FACETS)
    assert facets.get(Taps) is facets.get(Taps)


def test_missing_facet_is_named() -> None:
    """Catches: a fixture that fails without saying what the backend lacks."""
    words = f"this backend does not offer Workloads: {Need.WORKLOADS}"
    with pytest.raises(BackendError, match=words):
        MadeFacets(FakeMesh(), FACETS).get(Workloads)
