"""Parse ``--set``: the mesh's lists on a command line, as FSM's documentation writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.configuration import (
    IP_RANGE_LISTS,
    PORT_LISTS,
    parse_interface,
    parse_ip_range,
    parse_port,
)
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.text import nearest

_PREFIX = "fsm."
_BRACES = {"{": "}", "[": "]"}
_EXAMPLE = '--set fsm.outboundPortExclusionList="{6379,7070}"'

_KEYS = {_PREFIX + name.mesh_config_key: name for name in ListName}

Value = str | int


def lists_of(settings: Iterable[str]) -> dict[str, list[Value]]:
    """Return lists of a MeshConfig by their key in ``spec.traffic``; a later setting wins.

    Args:
        settings: Such as ``fsm.outboundIPRangeExclusionList={1.1.1.1/32,2.2.2.2/24}``. Half of the
            examples in FSM's documentation use brackets, which ``fsm install`` itself refuses (Helm
            parses its values). Accept braces and brackets.

    Raises:
        SettingsError: A setting is invalid; the message names it.
    """
    found: dict[str, list[Value]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise SettingsError(f"--set {setting}: expected KEY=LIST, such as {_EXAMPLE}")
        name = _KEYS.get(key.strip())
        if name is None:
            raise SettingsError(
                f"--set {key}: no such setting{nearest(key, _KEYS)}; known: {', '.join(_KEYS)}"
            )
        found[name.mesh_config_key] = _values(key, text, name)
    return found


def _values(key: str, text: str, name: ListName) -> list[Value]:
    plain = text.strip()
    if len(plain) >= 2 and plain[0] == plain[-1] and plain[0] in "\"'":
        plain = plain[1:-1].strip()  # quotes that no shell has taken away
    if len(plain) < 2 or _BRACES.get(plain[0]) != plain[-1]:
        raise SettingsError(f"--set {key}: {text!r} is not a list in braces, such as {_EXAMPLE}")
    inside = plain[1:-1].strip()
    values = [value.strip() for value in inside.split(",")] if inside else []
    return [_value(key, value, name) for value in values]


def _value(key: str, value: str, name: ListName) -> Value:
    parse: Callable[[str], object] = parse_interface
    if name in PORT_LISTS:
        parse = parse_port
    elif name in IP_RANGE_LISTS:
        parse = parse_ip_range
    try:
        parsed = parse(value)
    except ValueError as why:
        raise SettingsError(f"--set {key}: {value!r} {why}") from None
    return parsed if isinstance(parsed, int) else value
