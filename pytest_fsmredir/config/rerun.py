"""Build the options of the command that re-runs one check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_fsmredir.config import parsing
from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.parsing import Given

DEFAULT_CLUSTER = "pytest-kind"
"""The name that pytest-kind gives its cluster."""


def repeat_pytest_kind(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments that make pytest-kind use the same cluster.

    Args:
        given: The options of pytest-kind, by their names there.
    """
    for name, value in given.items():
        if value and (name, value) != ("cluster_name", DEFAULT_CLUSTER):
            yield f"--{name.replace('_', '-')}"
            if value is not True:
                yield str(value)


def repeated(
    given: Mapping[str, Given], features: Sequence[Given], directory: Path
) -> Iterator[str]:
    """Yield arguments for the values that pytest does not find in files by itself.

    A value from the environment, ``-o`` or ``-c`` becomes an option, so that the command also works
    in another shell.

    Args:
        given: The effective value of each option.
        features: All values for features, lowest precedence first.
        directory: Where the command runs.
    """
    effective = {**given, "features": _united(features)}
    for option in OPTIONS:
        if option.again and effective[option.name].transient:
            yield from _arguments(option, effective[option.name], directory)


def _arguments(option: Option, given: Given, directory: Path) -> Iterator[str]:
    name, text = option.switch, given.text
    if option.is_path and text and given.base != directory:
        text = str(given.base / text)
    if option.flag:
        yield from [name] if parsing.boolean(given) else []
    elif text.startswith("-"):  # argparse would parse it as an option
        yield f"{name}={text}"
    else:
        yield from (name, text)


def _united(features: Sequence[Given]) -> Given:
    """Return one value for features that has the effect of several values in order."""
    signs: dict[str, str] = {}
    whole = False
    for items in map(parsing.items, features):
        if items and all(item.startswith(("+", "-")) for item in items):
            signs |= {item[1:].strip(): item[0] for item in items}
        else:
            signs, whole = dict.fromkeys(items, "+"), True
    if whole:
        changes = [name for name, sign in signs.items() if sign == "+"]
    else:
        changes = [sign + name for name, sign in signs.items()]
    return Given(",".join(changes), "", Path(), any(given.transient for given in features))
