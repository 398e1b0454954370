"""Join the modules of the check into one file."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from importlib import resources

_MODULES = ("policy", "pod", "flows", "eyes", "sending", "command")
"""In the order in which they import each other."""

_EMPTY = "PRINTED: dict[str, list[str]] = {}\n"


def source(name: str) -> str:
    """Return the text of a module of the check."""
    folder = resources.files("pytest_fsmredir") / "agent" / "selfcheck"
    return (folder / f"{name}.py").read_text(encoding="utf-8")


def joined(lists: Mapping[str, Sequence[str]]) -> str:
    """Return the check as one file, with the lists of a pod in it."""
    texts = [source(name) for name in _MODULES]
    docstring = ast.get_docstring(ast.parse(texts[-1]), clean=False)
    filled = "\n\n".join(map(_body, texts)).replace(_EMPTY, _EMPTY[:-3] + _written(lists))
    lines = ["#!/usr/bin/env python3", f'"""{docstring}"""', "", _FUTURE, "", *_imports(texts)]
    return "\n".join([*lines, "", ""]) + filled


_FUTURE = "from __future__ import annotations"


def _imports(texts: Sequence[str]) -> list[str]:
    """Return the imports of the standard library, one line for each module."""
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for node in (each for text in texts for each in ast.parse(text).body):
        if isinstance(node, ast.Import):
            plain.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.setdefault(node.module, set()).update(each.name for each in node.names)
    wanted = {name for name in names if name.split(".")[0] not in {"__future__", "pytest_fsmredir"}}
    grouped = [f"from {name} import {', '.join(sorted(names[name]))}" for name in sorted(wanted)]
    return [*sorted(plain), *grouped]


def _body(text: str) -> str:
    """Return what follows the imports of a module."""
    last = max(
        node.end_lineno or 0
        for node in ast.parse(text).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    return "\n".join(text.splitlines()[last:]).strip("\n") + "\n"


def _written(lists: Mapping[str, Sequence[str]]) -> str:
    """Return lists as Python, one a line."""
    rows = [f"    {name!r}: {list(items)!r},\n" for name, items in lists.items()]
    return "".join(["{\n", *rows, "}\n"]) if rows else "{}\n"
