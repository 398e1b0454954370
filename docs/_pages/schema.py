"""The page of the report's schema, from the schema itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_fsmredir import report

_HEAD = """\
# Report schema

Generated from the code by `python -m docs.generate`. `report.json` and `report.yaml` hold the same
document. A key that is not listed here is not allowed.
[The schema](../../pytest_fsmredir/report/schema.json) is JSON Schema 2020-12;
`python -m pytest_fsmredir verify DIR` holds a report to it.
"""

_LIMITS = {
    "minLength": "{} characters or more",
    "minItems": "{} items or more",
    "minimum": "{} or more",
    "pattern": "matches `{}`",
    "format": "a {}",
}
_NOT_EMPTY = {("minLength", 1), ("minItems", 1)}

_Schema = Mapping[str, Any]


def page() -> str:
    """Return the whole page."""
    schema = json.loads(Path(report.__path__[0], "schema.json").read_text(encoding="utf-8"))
    parts = [_HEAD, f"{schema['description']}\n"]
    for title, definition in _objects(schema):
        parts += _section(title, definition)
    return "\n".join(parts)


def _objects(schema: _Schema) -> Iterator[tuple[str, _Schema]]:
    """Yield each object with its title: the report, the definitions, and objects within these."""
    yield "report", schema
    for name, definition in schema["$defs"].items():
        yield from _within(name, definition)


def _within(title: str, definition: _Schema) -> Iterator[tuple[str, _Schema]]:
    if "properties" in definition:
        yield title, definition
    for name, member in definition.get("properties", {}).items():
        yield from _within(f"{title}.{name}", member.get("items", member))


def _section(title: str, definition: _Schema) -> Iterator[str]:
    yield f"## {title}\n"
    if title != "report" and "description" in definition:
        yield f"{definition['description']}\n"
    yield "| key | type | required | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, member in definition["properties"].items():
        required = "yes" if name in definition["required"] else "no"
        yield f"| `{name}` | {_type(f'{title}.{name}', member)} | {required} | {_meaning(member)} |"
    yield ""


def _type(title: str, member: _Schema) -> str:
    if "$ref" in member:
        return _reference(member["$ref"].rpartition("/")[2])
    if "const" in member:
        return f"`{member['const']}`"
    if "enum" in member:
        return " or ".join(f"`{value}`" for value in member["enum"])
    if member["type"] == "array":
        return f"list of: {_type(title, member['items'])}"
    if "properties" in member:
        return f"[object](#{_anchor(title)})"
    if "additionalProperties" in member:
        return f"object of: {_type(title, member['additionalProperties'])}"
    return str(member["type"])


def _reference(name: str) -> str:
    return "check id" if name == "id" else f"[{name}](#{_anchor(name)})"


def _anchor(title: str) -> str:
    return title.replace(".", "").lower()


def _meaning(member: _Schema) -> str:
    limits = [_limit(key, member[key]) for key in _LIMITS if key in member]
    said = [member["description"].rstrip(".")] if "description" in member else []
    return "; ".join(said + limits).replace("|", "\\|")


def _limit(key: str, value: object) -> str:
    return "not empty" if (key, value) in _NOT_EMPTY else _LIMITS[key].format(value)
