"""Make the settings of a run: find the value of each option, and read it with the option's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fsmredir.config import parsing, sources
from pytest_fsmredir.config.conflicts import reject_conflicts, require_complete_identity
from pytest_fsmredir.config.identity import Identity
from pytest_fsmredir.config.options import IMPLEMENTATION, OPTIONS
from pytest_fsmredir.config.parsing import Given
from pytest_fsmredir.config.rerun import repeated
from pytest_fsmredir.config.settings import KubernetesSettings, Settings
from pytest_fsmredir.config.sources import Layer
from pytest_fsmredir.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fsmredir.config.options_file import OptionsFile

_ROWS = {option.name: option for option in OPTIONS}
_KUBERNETES = "kubernetes."
_NOTHING = Given("", "", Path())


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run; the options file is read if the run judges or measures.

    Raises:
        SettingsError: A value is invalid; the message names the value and its source.
    """
    layers = _layers(config)
    first = _first(layers)
    if not any(parsing.boolean(first[name]) for name in ("conformance", "benchmark")):
        return _settings(layers, None, config)
    sources.reject_misled_root(config)
    return read_all_settings(config)


def read_all_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run, including those of the options file.

    Raises:
        SettingsError: A value is invalid; the message names the value and its source.
    """
    upper, *lower = _layers(config)
    named = _first([upper, *lower])["options"]
    _ROWS["options"].read(named)
    if not named.text:
        named = sources.default_file(config)
    upper = {**upper, "options": named} if named.transient else upper
    file = _read_file(named.base / named.text) if named.text else None
    layers = [upper, *([file.layer] if file else []), *lower]
    return _settings(layers, file, config)


def _read_file(path: Path) -> OptionsFile:
    from pytest_fsmredir.config.options_file import read_options_file  # loads the YAML library

    return read_options_file(path)


def _layers(config: pytest.Config) -> list[Layer]:
    """Return the values of every source except the options file, highest precedence first."""
    return [
        sources.command_line(config),
        sources.environment(config),
        sources.ini(config),
        sources.defaults(config),
    ]


def _first(layers: Sequence[Layer]) -> dict[str, Given]:
    """Return the value of each option from the layer of the highest precedence that has it."""
    return {name: given for layer in reversed(layers) for name, given in layer.items()}


def _settings(layers: Sequence[Layer], file: OptionsFile | None, config: pytest.Config) -> Settings:
    named = _implementation(layers[:-1])
    listed = _listed_waivers(layers, file)
    given = _first(layers) | named | ({"waivers": _NOTHING} if listed else {})
    values = _values(given, layers[:-1]) | ({"waivers": file.waivers} if file and listed else {})
    in_pods = {
        field.removeprefix(_KUBERNETES): values.pop(field)
        for field in list(values)
        if field.startswith(_KUBERNETES)
    }
    features = [layer["features"] for layer in reversed(layers[:-1]) if "features" in layer]
    settings = Settings(
        **values,
        kubernetes=KubernetesSettings(**in_pods, pytest_kind=sources.pytest_kind(config)),
        init_cmd_base=given["init-cmd"].base,
        identity=file.identity if file else Identity(),
        where={name: each.where for name, each in given.items() if each.where},
        texts=_texts(given),
        repeat=tuple(repeated(given, features, config.invocation_params.dir)),
    )
    reject_conflicts(settings, given)
    if file is not None:
        require_complete_identity(settings, file.path, named=bool(named))
    return settings


def _values(given: Mapping[str, Given], layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the value of each field that an option sets, by the field.

    Args:
        given: The effective value of each option.
        layers: All layers except the defaults, highest precedence first.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.united:
            each = [layer[option.name] for layer in reversed(layers) if option.name in layer]
            values[option.field] = {one.where: option.read(one) for one in each}
        elif option.field:
            values[option.field] = option.read(given[option.name])
    return values


def _implementation(layers: Sequence[Layer]) -> dict[str, Given]:
    """Return the option that names the implementation, from the first layer that has one.

    An init command on the command line therefore overrides a rules file in the options file.

    Args:
        layers: All layers except the defaults, highest precedence first.
    """
    for layer in layers:
        named = {name: layer[name] for name in IMPLEMENTATION if name in layer}
        for name, given in named.items():
            _ROWS[name].read(given)
        if len(named) > 1:
            both = " and ".join(given.where for given in named.values())
            raise SettingsError(f"{both} each name an implementation: give one")
        if named:
            return dict.fromkeys(IMPLEMENTATION, _NOTHING) | named
    return {}


def _listed_waivers(layers: Sequence[Layer], file: OptionsFile | None) -> bool:
    """Whether the waivers are those that the options file lists itself."""
    return file is not None and bool(file.waivers) and "waivers" not in layers[0]


def _texts(given: Mapping[str, Given]) -> dict[str, str]:
    return {
        option.name: given[option.name].text
        for option in OPTIONS
        if option.name != "conformance" and given[option.name].text != option.default
    }
