"""The page of the public names, from their signatures and docstrings."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest_fsmredir

_HEAD = """\
# Public names

Generated from the code by `python -m docs.generate`. These are the names of
`pytest_fsmredir.__all__`: `from pytest_fsmredir import Policy`. All other names of the package may
change without notice.
"""

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data):`~?\.?([^`]+)`")
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes):")


def page() -> str:
    """Return the whole page."""
    names = pytest_fsmredir.__all__
    index = ", ".join(f"[{name}](#{name.lower()})" for name in names)
    return "\n".join([_HEAD, index, "", *(part for name in names for part in _entry(name))])


def _entry(name: str) -> Iterator[str]:
    value = getattr(pytest_fsmredir, name)
    yield f"## {name}\n"
    if isinstance(value, ModuleType):
        yield from _of_module(value)
    elif inspect.isclass(value):
        yield from _of_class(value)
    elif inspect.isfunction(value):
        yield from _of_function(value, name)
    else:
        yield f"```python\n{name} = {value!r}\n```\n"


def _of_module(module: ModuleType) -> Iterator[str]:
    yield _markdown(inspect.getdoc(module))
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
            yield f"### {module.__name__.rpartition('.')[2]}.{name}\n"
            yield from _of_class(value) if inspect.isclass(value) else _of_function(value, name)


def _of_class(kind: type) -> Iterator[str]:
    yield _markdown(inspect.getdoc(kind))
    if issubclass(kind, enum.Enum):
        yield "Members: " + ", ".join(f"`{member.name}`" for member in kind) + ".\n"
        return
    for name, value in _members(kind):
        if isinstance(value, property):
            yield f"- **`{name}`**: {_first_line(value)}"
        else:
            yield f"- **`{_signature(value, name)}`**\n"
            yield textwrap.indent(_markdown(inspect.getdoc(value)), "  ")
    yield ""


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties of a class, in the order of their definition."""
    seen = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("pytest_fsmredir"):
            continue
        for name, value in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            if isinstance(value, (staticmethod, classmethod)):
                value = value.__func__
            if isinstance(value, property) or inspect.isfunction(value):
                seen.add(name)
                yield name, value


def _of_function(function: object, name: str) -> Iterator[str]:
    yield f"```python\n{_signature(function, name)}\n```\n"
    yield _markdown(inspect.getdoc(function))


def _signature(function: object, name: str) -> str:
    """Return the signature as written; :mod:`inspect` prints annotations by Python's version."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)  # noqa: S101 - a class has another entry
    arguments = ast.unparse(node.args)
    for first in ("self, ", "cls, ", "self", "cls"):
        if arguments.startswith(first):
            arguments = arguments.removeprefix(first)
            break
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({arguments}){returned}"


def _first_line(value: object) -> str:
    return _inline((inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " "))


def _markdown(doc: str | None) -> str:
    """Return a docstring in Markdown: each of its sections becomes a list."""
    lines: list[str] = []
    in_section = False
    for line in _inline(doc or "").splitlines():
        if _SECTION.fullmatch(line):
            in_section = True
            lines += [f"{line}", ""]
        elif in_section and line.startswith("    ") and not line.startswith("     "):
            lines.append(f"- {line.strip()}")
        elif in_section and line.strip():
            lines.append(f"  {line.strip()}" if line.startswith(" ") else line)
            in_section = line.startswith(" ")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
