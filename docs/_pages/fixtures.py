"""The page of the fixtures, from their functions."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from docs._pages.api import markdown
from pytest_fsmredir.plugin import fixtures

_HEAD = """\
# Fixtures

Generated from the code by `python -m docs.generate`.
[Write your own tests](../how-to/own-tests.md) shows their use. Types are [public names](api.md) or
names of Python, pytest and pytest-kind.
"""

_GENERATORS = {"Iterator", "Generator"}


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(part for each in _fixtures() for part in _entry(*each))])


def _fixtures() -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """Yield the name, docstring and definition of each fixture, in the order of the module."""
    for name, value in vars(fixtures).items():
        function: Any = getattr(value, "_fixture_function", None) or inspect.unwrap(value)
        if name.startswith("fsm_") and inspect.isfunction(function):
            node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
            if isinstance(node, ast.FunctionDef):
                yield name, inspect.getdoc(function) or "", node


def _entry(name: str, doc: str, node: ast.FunctionDef) -> Iterator[str]:
    yield f"## {name}\n"
    asks = [argument.arg for argument in node.args.args]
    uses = ", ".join(f"[`{each}`](#{each})" for each in asks if each.startswith("fsm_"))
    facts = [f"type `{_type(node)}`", f"scope {_scope(node)}", *([f"uses {uses}"] if uses else [])]
    yield f"*{'; '.join(facts)}*\n"
    yield markdown(doc)


def _type(node: ast.FunctionDef) -> str:
    """Return the type of the value that a test gets."""
    returned = node.returns
    if (
        isinstance(returned, ast.Subscript)
        and isinstance(returned.value, ast.Name)
        and returned.value.id in _GENERATORS
    ):
        returned = returned.slice
    return ast.unparse(returned) if returned else "None"


def _scope(node: ast.FunctionDef) -> str:
    for decorator in node.decorator_list:
        for keyword in getattr(decorator, "keywords", ()):
            if keyword.arg == "scope":
                return str(ast.literal_eval(keyword.value))
    return "function"
