"""The page of the public names, from their signatures and docstrings."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import pytest_fsmredir

_HEAD = """\
# Public names

Generated from the code by `python -m docs.generate`. These are the names of
`pytest_fsmredir.__all__`: `from pytest_fsmredir import Policy`. All other names of the package may
change without notice.
"""

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data):`~?\.?([^`]+)`")
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes):")
_ITEM = re.compile(r"    (\w+): ")


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
    yield markdown(inspect.getdoc(module))
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
            yield f"### {module.__name__.rpartition('.')[2]}.{name}\n"
            yield from _of_class(value) if inspect.isclass(value) else _of_function(value, name)


def _of_class(kind: type) -> Iterator[str]:
    yield markdown(inspect.getdoc(kind), _types(kind))
    if issubclass(kind, enum.Enum):
        yield "Members: " + ", ".join(f"`{member.name}`" for member in kind) + ".\n"
        return
    for name, value in _members(kind):
        if isinstance(value, property):
            yield f"- **`{name}`** (`{_returned(value)}`): {_first_line(value)}"
        else:
            yield f"- **`{_signature(value, name)}`**\n"
            yield textwrap.indent(markdown(inspect.getdoc(value)), "    ")
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
    yield markdown(inspect.getdoc(function))


def _types(kind: type) -> dict[str, str]:
    """Return the types of the fields of a class, and of the arguments that make an instance."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("pytest_fsmredir"):
            found |= _annotated(_definition(owner).body)
    return found


def _annotated(body: list[ast.stmt]) -> dict[str, str]:
    found = {}
    for node in body:
        if isinstance(node, ast.AnnAssign):
            found[ast.unparse(node.target)] = ast.unparse(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = [*node.args.args, *node.args.kwonlyargs]
            typed = ((each.arg, each.annotation) for each in arguments)
            found |= {name: ast.unparse(kind) for name, kind in typed if kind}
    return found


def _definition(value: Any) -> Any:  # noqa: ANN401 - a class or a function
    """Return the definition of a class or function as written."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(value)))
    return ast.parse(source).body[0]


def _returned(value: property) -> str:
    return ast.unparse(_definition(value.fget).returns)


def _signature(function: object, name: str) -> str:
    """Return the signature as written; :mod:`inspect` prints annotations by Python's version."""
    node = _definition(function)
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


def markdown(doc: str | None, types: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a docstring in Markdown: its sections become lists, whose items can have types."""
    lines: list[str] = []
    in_section = False
    for line in _inline(doc or "").splitlines():
        if _SECTION.fullmatch(line):
            in_section = True
            lines += [f"{line}", ""]
        elif in_section and line.startswith("    ") and not line.startswith("     "):
            lines.append(_item(line, types))
        elif in_section and line.strip():
            lines.append(f"    {line.strip()}" if line.startswith(" ") else line)
            in_section = line.startswith(" ")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _item(line: str, types: Mapping[str, str]) -> str:
    """Return an item of a section, with the type of the name that it explains."""
    named = _ITEM.match(line)
    if not named:
        return f"- {line.strip()}"
    name = named[1]
    typed = f" (`{types[name]}`)" if name in types else ""
    return f"- `{name}`{typed}: {line[named.end() :]}"


def _inline(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
