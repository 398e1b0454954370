"""Parse the text of one option; an error names the source of the text.

Each function raises :class:`SettingsError` for an invalid text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_fsmredir.config.options import OPTIONS, Given
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.text import nearest

_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_TRUTH |= {"": False, "false": False, "0": False, "no": False, "off": False}
_CHOICES = {option.name: option.choices for option in OPTIONS if option.choices}


def path(given: Given) -> Path | None:
    """Return an absolute path; None for an empty text."""
    return (given.base / given.text).absolute() if given.text else None


def not_empty(given: Given) -> Given:
    """Return the value unchanged; reject an empty text from any source but the default."""
    if given.where and not given.text.strip():
        raise SettingsError(
            f"{given.where}: the value is empty, and does not say what is to be judged:"
            " give one, or leave the option out"
        )
    return given


def items(given: Given) -> tuple[str, ...]:
    """Return the items of the list in an option."""
    return split(given.text)


def split(text: str) -> tuple[str, ...]:
    """Return the items between commas, without empty items."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def choice(name: str, given: Mapping[str, Given]) -> str:
    """Return the value of an option that has a set of allowed values."""
    text, choices = given[name].text, _CHOICES[name]
    if text not in choices:
        raise SettingsError(
            f"{given[name].where}: {text!r} is not one of {', '.join(choices)}"
            f"{nearest(text, choices)}"
        )
    return text


def boolean(given: Given) -> bool:
    """Return whether a flag is set."""
    try:
        return _TRUTH[given.text.lower()]
    except KeyError:
        raise SettingsError(f"{given.where}: {given.text!r} is neither true nor false") from None


def seconds(given: Given) -> float:
    """Return a time in seconds, more than 0 and at most an hour."""
    try:
        number = float(given.text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:
        raise SettingsError(
            f"{given.where}: {given.text!r} is not a number of seconds from 0 to 3600"
        )
    return number


def whole_number(given: Given) -> int:
    """Return a whole number from 0 up."""
    if not given.text.isdecimal() or not given.text.isascii():
        raise SettingsError(f"{given.where}: {given.text!r} is not a whole number from 0 up")
    return int(given.text)
