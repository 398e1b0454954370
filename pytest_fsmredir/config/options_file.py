"""Read the options file, ``fsmredir.yaml``: options, waivers, and the implementation's identity."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from pytest_fsmredir.config.identity import Identity, read_identity
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.parsing import Given
from pytest_fsmredir.config.sources import Layer
from pytest_fsmredir.config.waivers import Waiver, read_waivers
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.text import nearest

_OPTIONS = {option.name: option for option in OPTIONS if option.in_file}
_ELSEWHERE = {option.name for option in OPTIONS if not option.in_file}
_KEYS = ("implementation", *_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsFile:
    """The contents of an options file.

    Attributes:
        path: Path of the file.
        layer: Its values for options.
        identity: The identity of the implementation under test.
        waivers: The waivers that the file lists itself.
    """

    path: Path
    layer: Layer
    identity: Identity
    waivers: tuple[Waiver, ...]


class _Text(yaml.BaseLoader):
    """Loads lists, mappings and texts, never other objects.

    A number or a date stays as text, so that version 1.10 does not become 1.1, and "off" does not
    become a truth value.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Return a mapping; a duplicate key is an error."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        made: dict[object, object] = super().construct_mapping(node, deep)
        return made


def read_options_file(path: Path) -> OptionsFile:
    """Read an options file.

    Raises:
        SettingsError: The file cannot be read, or a key or a value is invalid.
    """
    document = load(path)
    if document == "":
        document = {}
    if not isinstance(document, Mapping):
        raise SettingsError(f"{path}: the file must be a mapping of keys to values")
    _reject_unknown(document, path)
    values = dict(document)
    identity = (
        read_identity(values.pop("implementation"), str(path))
        if ("implementation" in values)
        else Identity()
    )
    waivers: tuple[Waiver, ...] = ()
    if isinstance(values.get("waivers"), list):
        waivers = read_waivers(values.pop("waivers"), str(path))
    layer = {
        name: Given(_text(name, value, path), f"{path}: {name}", path.parent)
        for name, value in values.items()
    }
    return OptionsFile(path=path, layer=layer, identity=identity, waivers=waivers)


def read_waivers_file(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers: a list, or a list under the key ``waivers``.

    Raises:
        SettingsError: The file cannot be read, or a waiver is invalid.
    """
    document = load(path)
    if isinstance(document, Mapping):
        for key in document:
            if key != "waivers":
                raise SettingsError(f"{path}: {key}: no such key{nearest(str(key), ['waivers'])}")
        document = document.get("waivers", [])
    return read_waivers(document or [], str(path))


def load(path: Path) -> object:
    """Return a YAML document whose scalars are all text; an empty document is ``""``.

    Raises:
        SettingsError: The file does not exist, or is not YAML.
    """
    try:
        loader = _Text(path.read_text(encoding="utf-8"))
        return loader.get_single_data() or ""
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text: {error.reason}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {_one_line(error)}") from None
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None


def _reject_unknown(document: Mapping[object, object], path: Path) -> None:
    for key in document:
        if key in _ELSEWHERE:
            raise SettingsError(f"{path}: {key}: give this one as --fsm-{key}, not in this file")
        if key not in _KEYS:
            raise SettingsError(
                f"{path}: {key}: no such key{nearest(str(key), _KEYS)} (known: {', '.join(_KEYS)})"
            )


def _text(name: str, value: object, path: Path) -> str:
    if isinstance(value, str):
        return value.strip()
    listed = _OPTIONS[name].many
    if listed and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    wanted = "a string or a list of strings" if listed else "a string"
    raise SettingsError(f"{path}: {name}: {reprlib.repr(value)} must be {wanted}")


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
