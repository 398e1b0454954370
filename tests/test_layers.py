"""Imports that are allowed between rooms of the package. Add a new arrow here on purpose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.structure import PACKAGE, ROOT, floors, graph, imports, rooms

ALLOWED = {
    "errors": set(),
    "text": set(),
    "model": {"errors"},
    "layout": {"errors"},
    "procs": {"errors"},
    "scratch": {"procs"},
    "traffic": {"model"},
    "rules": {"model", "errors"},
    "sidecars": {"traffic", "model", "procs", "errors"},
    "agent": {"sidecars", "traffic", "model"},
    "implementations": {"model", "procs", "text", "errors"},
    "backends": {
        "agent", "implementations", "sidecars", "traffic", "model", "scratch", "procs", "layout",
        "text", "errors",
    },
    "reference_mesh": {
        "backends", "agent", "sidecars", "traffic", "model", "layout", "text", "errors",
    },
    "probing": {"backends", "rules", "traffic", "model", "errors"},
    "fuzz": {"probing", "backends", "traffic", "model", "errors"},
    "config": {"model", "text", "errors"},
    "suite": {
        "rules", "config", "backends", "implementations", "model", "layout", "text", "errors",
    },
    "report": {
        "suite", "config", "implementations", "model", "procs", "layout", "text", "errors",
    },
    "plugin": {
        "report", "suite", "config", "fuzz", "backends", "implementations", "model", "layout",
        "text", "errors",
    },
    "cli": {
        "report", "suite", "probing", "rules", "backends", "model", "layout", "text", "errors",
    },
    "__main__": {"errors"},  # it imports the module of a command by its name
}  # fmt: skip


IN_KUBERNETES = {
    "cluster": set(),
    "agents": {"cluster"},
    "pods": {"agents", "cluster"},
    "leftovers": {"pods", "cluster"},
    "mesh": {"pods", "agents", "cluster"},
    "backend": {"mesh", "leftovers", "pods", "agents", "cluster"},
    "cluster_backend": {"backend", "pods", "cluster"},
    "kind_backend": {"backend", "pods", "cluster"},
}

KUBERNETES = PACKAGE / "backends" / "kubernetes"
ARROWS = graph()


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", sorted(rooms()))
def test_room_imports_what_its_rule_allows(room: str) -> None:
    """Catches: a judge that imports what it judges, or a new room without a rule."""
    assert room in ALLOWED, f"{room} is a new room: give it a rule here"
    assert ARROWS[room] <= ALLOWED[room]


@pytest.mark.parametrize("room", sorted(rooms(KUBERNETES)))
def test_room_of_the_kubernetes_backend_imports_what_its_rule_allows(room: str) -> None:
    """Catches: a cluster that imports pods, or a pod that imports the mesh of a check."""
    assert room in IN_KUBERNETES, f"{room} is a new room: give it a rule here"
    assert graph(KUBERNETES)[room] <= IN_KUBERNETES[room]


@pytest.mark.parametrize(
    "folder",
    ["", "netns", "kubernetes/agents", "kubernetes/cluster", "kubernetes/mesh", "kubernetes/pods"],
)
def test_modules_of_a_backend_form_no_circle(folder: str) -> None:
    """Catches: a mesh that imports its backend, for its types or to use it."""
    floors(graph(PACKAGE / "backends" / folder))  # raises for a circle


def test_rooms_form_no_circle() -> None:
    """Catches: two rooms that import each other, or a structure that exceeds its size limit."""
    assert floors(ARROWS) <= 9
    assert len(ARROWS) <= 22
    assert sum(map(len, ARROWS.values())) <= 85


@pytest.mark.parametrize("file", sorted((PACKAGE / "traffic").glob("*.py")), ids=lambda f: f.name)
def test_traffic_needs_the_standard_library_only(file: Path) -> None:
    """Catches: a probe that cannot run in a pod that has only Python."""
    outside = {name.split(".")[0] for name in imports(file)} - {"pytest_fsmredir"}
    assert outside <= sys.stdlib_module_names


def test_nothing_imports_the_plugin() -> None:
    """Catches: a library module that pulls in the pytest hooks."""
    assert not [
        f
        for f in modules()
        if f.parent.name != "plugin" and any("pytest_fsmredir.plugin" in n for n in imports(f))
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "conformance").rglob("*.py")), ids=lambda f: f.name)
def test_checks_use_only_public_names(file: Path) -> None:
    """Catches: a check that imports backend internals or another check."""
    ours = {name for name in imports(file) if name.startswith(("pytest_fsmredir", "conformance"))}
    allowed = {"pytest_fsmredir", "pytest_fsmredir.model.vocabulary"}
    assert {name.rpartition(".")[0] for name in ours} <= allowed


def test_one_module_starts_programs() -> None:
    """Catches: a program started without a deadline or through a shell."""
    users = [f.name for f in modules() if "subprocess" in imports(f)]
    assert users == ["procs.py"]
