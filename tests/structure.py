"""The structure of the package: rooms, arrows, floors and circles.

A room is a module or folder of the package's root. An arrow says that one room imports another. A
floor is a step of the longest chain of imports. A circle is a set of rooms that import each other.

Print them: ``python -m tests.structure [FOLDER]``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_fsmredir"

Graph = dict[str, set[str]]
"""The rooms that each room imports."""


def imports(file: Path) -> set[str]:
    """Return the dotted names of everything that a file imports."""
    return set(_imported(ast.parse(file.read_text())))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(folder: Path = PACKAGE) -> set[str]:
    """Return the names of a package's rooms."""
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    return modules | {file.parent.name for file in folder.glob("*/__init__.py")}


def graph(folder: Path = PACKAGE) -> Graph:
    """Return which rooms of a package import which; the package's own ``__init__`` is left out."""
    known = rooms(folder)
    prefix = ".".join(folder.relative_to(ROOT).parts) + "."
    arrows: Graph = {room: set() for room in known}
    for file in folder.rglob("*.py"):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        if own in known:
            used = {
                name.removeprefix(prefix).split(".")[0]
                for name in imports(file)
                if name.startswith(prefix)
            }
            arrows[own] |= (used & known) - {own}
    return arrows


def floors(arrows: Graph) -> int:
    """Return the length of the longest chain of imports.

    Raises:
        graphlib.CycleError: Some rooms import each other; its second argument names them.
    """
    floor: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        floor[room] = 1 + max((floor[each] for each in arrows[room]), default=0)
    return max(floor.values())


def summary(folder: Path) -> str:
    """Return the numbers of one package in one line."""
    arrows = graph(folder)
    try:
        height = f"{floors(arrows)} floors, no circle"
    except CycleError as error:
        height = f"a circle: {' -> '.join(error.args[1])}"
    count = sum(map(len, arrows.values()))
    return f"{folder.relative_to(ROOT)}: {len(arrows)} rooms, {count} arrows, {height}"


if __name__ == "__main__":
    named = [Path(name).resolve() for name in sys.argv[1:]]
    for folder in named or [PACKAGE, PACKAGE / "backends" / "kubernetes"]:
        print(summary(folder))
