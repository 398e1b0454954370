"""The value of one option as text, and the parsers that read it.

A parser raises :class:`SettingsError` for an invalid text. The message names the source, the text
and what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.text import nearest

NETNS, KIND, CLUSTER = "netns", "kind", "cluster"
BACKENDS = (NETNS, KIND, CLUSTER)

EVERY_NODE = "all"

MOST_ENTRIES, _MOST_ROUNDS = 100_000, 1000

_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_TRUTH |= {"": False, "false": False, "0": False, "no": False, "off": False}


class Given(NamedTuple):
    """The value of an option as text, and its source.

    Attributes:
        text: The value.
        where: The source, for messages: ``--fsm-ip``, ``fsmredir.yaml: ip``, ``FSM_IP``; empty for
            a default.
        base: The directory that a relative path starts from.
        transient: Whether a later pytest command in the same directory would not find the value.
    """

    text: str
    where: str
    base: Path
    transient: bool = False


class Parser(NamedTuple):
    """How to read the text of an option.

    Attributes:
        kind: The type of the value, in words.
        read: Returns the value; raises :class:`SettingsError` for an invalid text.
    """

    kind: str
    read: Callable[[Given], Any]


def text(given: Given) -> str:
    """Return the text unchanged."""
    return given.text


def path(given: Given) -> Path | None:
    """Return an absolute path; None for an empty text."""
    return (given.base / given.text).absolute() if given.text else None


def items(given: Given) -> tuple[str, ...]:
    """Return the items of the list in an option."""
    return split(given.text)


def split(text: str) -> tuple[str, ...]:
    """Return the items between commas, without empty items."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def boolean(given: Given) -> bool:
    """Return whether a flag is set."""
    try:
        return _TRUTH[given.text.lower()]
    except KeyError:
        raise SettingsError(
            f"{given.where}: {given.text!r} is neither true nor false: write one of them"
        ) from None


def seconds(given: Given) -> float:
    """Return a time in seconds, more than 0 and at most an hour."""
    try:
        number = float(given.text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:
        raise SettingsError(
            f"{given.where}: {given.text!r} is not a number of seconds from 0 to 3600:"
            " write one such as 5 or 0.5"
        )
    return number


def whole_number(given: Given) -> int:
    """Return a whole number from 0 up."""
    if not given.text.isdecimal() or not given.text.isascii():
        raise SettingsError(
            f"{given.where}: {given.text!r} is not a whole number from 0 up: write one such as 50"
        )
    return int(given.text)


def policies(given: Given) -> range:
    """Return generated policies, counted from 0, of ``200`` or ``58-200``, which count from 1."""
    first, dash, last = given.text.rpartition("-")
    numbers = [each for each in (first, last) if each.isascii() and each.isdecimal()]
    chosen = range(int(first) - 1 if dash else 0, int(last)) if len(numbers) > len(dash) else None
    if chosen is None or (dash and not (chosen and chosen.start >= 0)):
        raise SettingsError(
            f"{given.where}: {given.text!r} is neither a number of policies nor a first and a last"
            " one: write 50, or 21-50"
        )
    return chosen


def rounds(given: Given) -> int:
    """Return a number of rounds, from 1 to 1,000."""
    number = whole_number(given)
    if not 1 <= number <= _MOST_ROUNDS:
        raise SettingsError(
            f"{given.where}: {given.text!r} is not a number of rounds from 1 to {_MOST_ROUNDS}:"
            " write one such as 20"
        )
    return number


def entries(given: Given) -> tuple[int, ...]:
    """Return numbers of list entries, each once, in ascending order."""
    numbers = {item: item.isascii() and item.isdecimal() for item in items(given)}
    wrong = [item for item, decimal in numbers.items() if not decimal or int(item) > MOST_ENTRIES]
    if wrong or not numbers:
        raise SettingsError(
            f"{given.where}: {(wrong or [given.text])[0]!r} is not a number of list entries from 0"
            f" to {MOST_ENTRIES}: write numbers such as 0,15,1000"
        )
    return tuple(sorted({int(item) for item in numbers}))


def backends(given: Given) -> tuple[str, ...]:
    """Return the names of backends, each once."""
    named = _known("backend", items(given), BACKENDS, given.where)
    if not named:
        raise SettingsError(f"{given.where}: name a backend: {', '.join(BACKENDS)}")
    return named


def profiles(given: Given) -> tuple[str, ...]:
    """Return the names of profiles, each once."""
    from pytest_fsmredir.model.checks import Profile

    return _known("profile", items(given), tuple(map(str, Profile)), given.where)


def nodes(given: Given) -> tuple[str, ...]:
    """Return the names of nodes, each once, or ``all`` alone."""
    named = tuple(dict.fromkeys(items(given)))
    if EVERY_NODE in named and len(named) > 1:
        raise SettingsError(
            f"{given.where}: {EVERY_NODE!r} cannot be combined with node names: give one or the"
            " other"
        )
    return named


def waivers(given: Given) -> tuple[Any, ...]:
    """Return the waivers in the file that an option names; none for an empty text."""
    if not given.text:
        return ()
    from pytest_fsmredir.config.options_file import read_waivers_file  # loads the YAML library

    return read_waivers_file(given.base / given.text)


def ip_versions(given: Given) -> tuple[int, ...]:
    """Return IP versions, 4 and 6."""
    return {"4": (4,), "6": (6,)}.get(given.text, (4, 6))


PARSERS = {
    "text": Parser("text", text),
    "path": Parser("path", path),
    "list": Parser("list", items),
    "flag": Parser("flag", boolean),
    "seconds": Parser("seconds, more than 0 and at most 3600", seconds),
    "whole number": Parser("whole number from 0 up", whole_number),
    "policies": Parser("whole number from 0 up, or the first and the last one", policies),
    "rounds": Parser("whole number from 1 to 1000", rounds),
    "entries": Parser("list of whole numbers", entries),
    "IP versions": Parser("text", ip_versions),
    "backends": Parser(f"list of {', '.join(BACKENDS)}", backends),
    "profiles": Parser("list of profiles", profiles),
    "nodes": Parser(f"list of node names, or {EVERY_NODE}", nodes),
    "waivers": Parser("path", waivers),
}
"""The parsers, by the name that a row of the options gives."""


def reject_empty(given: Given) -> None:
    """Reject an empty text from any source but the default."""
    if given.where and not given.text.strip():
        raise SettingsError(
            f"{given.where}: the value is empty, and does not say what is to be judged:"
            " give one, or leave the option out"
        )


def reject_other(given: Given, choices: tuple[str, ...]) -> None:
    """Reject a text that is not one of the allowed ones."""
    if given.text not in choices:
        raise SettingsError(
            f"{given.where}: {given.text!r} is not one of {', '.join(choices)}"
            f"{nearest(given.text, choices)}"
        )


def _known(noun: str, names: Iterable[str], known: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return some names, each once; reject an unknown one."""
    named = tuple(dict.fromkeys(names))
    for name in named:
        if name not in known:
            raise SettingsError(
                f"{where}: no {noun} is called {name!r}{nearest(name, known)}"
                f" (known: {', '.join(known)})"
            )
    return named
