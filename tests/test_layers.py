"""Which part of the package may import which; a new arrow has to be put here on purpose."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_fsmredir"

# Each layer may import itself and what stands to its right.
ALLOWED = {
    "errors": set(),
    "text": set(),
    "model": {"errors"},
    "layout": {"errors"},
    "procs": {"errors"},
    "scratch": {"procs"},
    "traffic": {"model"},
    "rules": {"model", "procs", "text", "errors"},
    "sidecars": {"traffic", "model", "procs", "errors"},
    "agent": {"sidecars", "traffic", "model"},
    "implementations": {"model", "procs", "text", "errors"},
    "backends": {
        "agent", "implementations", "sidecars", "traffic", "model", "scratch", "procs", "layout",
        "text", "errors",
    },
    "reference_mesh": {
        "backends", "agent", "sidecars", "traffic", "model", "scratch", "procs", "layout", "text",
        "errors",
    },
    "probing": {"fuzz", "model"},
    "fuzz": {"probing", "backends", "implementations", "sidecars", "traffic", "model", "errors"},
    "config": {"backends", "model", "text", "errors"},
    "suite": {"config", "backends", "implementations", "model", "layout", "text", "errors"},
    "report": {
        "suite", "config", "backends", "implementations", "model", "layout", "text", "errors",
    },
    "plugin": {
        "report", "suite", "config", "fuzz", "backends", "implementations", "model", "layout",
        "text", "errors",
    },
    "cli": {"probing", "backends", "implementations", "model", "text", "errors"},
    "__main__": {"cli", "implementations", "errors"},
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(file: Path) -> set[str]:
    """Return the dotted names of all that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    """A judge that reads what it judges, or a cycle between layers."""
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return  # the public names, loaded on first use
    assert own in ALLOWED, f"{own} is a new room: give it a rule here"
    used = {layer(name) for name in imports(file) if name.startswith("pytest_fsmredir.")}
    assert used <= ALLOWED[own] | {own}


@pytest.mark.parametrize("file", sorted((PACKAGE / "traffic").glob("*.py")), ids=lambda f: f.name)
def test_traffic_needs_the_standard_library_only(file: Path) -> None:
    """A probe that cannot run in a pod which holds no more than Python."""
    outside = {name.split(".")[0] for name in imports(file)} - {"pytest_fsmredir"}
    assert outside <= sys.stdlib_module_names


def test_nothing_imports_the_plugin() -> None:
    """A library part that drags the hooks in."""
    assert not [
        f
        for f in modules()
        if f.parent.name != "plugin" and any("pytest_fsmredir.plugin" in n for n in imports(f))
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "conformance").glob("*.py")), ids=lambda f: f.name)
def test_checks_use_public_names_alone(file: Path) -> None:
    """A check that reaches into a backend, or imports another check."""
    ours = {name for name in imports(file) if name.startswith(("pytest_fsmredir", "conformance"))}
    assert all(name.rpartition(".")[0] == "pytest_fsmredir" for name in ours)


def test_one_module_starts_programs() -> None:
    """A program started without a deadline or with a shell."""
    users = [f.name for f in modules() if "subprocess" in imports(f)]
    assert users == ["procs.py"]
