"""Find the implementation under test by name, and determine the features that it claims."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Implementation
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.text import nearest

GROUP = "pytest_fsmredir.implementations"
"""Entry point group in which other packages register implementations."""


class ClaimSource(StrEnum):
    """Where a feature claim comes from."""

    DECLARED = "declared"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Claims:
    """The feature claims of an implementation.

    Attributes:
        features: The optional features it claims.
        source: Declared by the user, or inferred: an init command is assumed to claim everything.
    """

    features: frozenset[Feature]
    source: ClaimSource


def select(
    name: str,
    *,
    where: str = "",
    init_cmd: str = "",
    init_cmd_base: Path | None = None,
    rules: Path | None = None,
    replay: Path | None = None,
    directory: Path | None = None,
) -> Implementation:
    """Return the implementation under test.

    Args:
        name: A built-in name, ``module:attribute``, or an entry point; ignored if ``init_cmd``,
            ``rules`` or ``replay`` is given.
        where: The source of the name, for messages.
        init_cmd: A shell command.
        init_cmd_base: The directory that a relative path of its program starts from.
        rules: A rules template.
        replay: The file of a captured pod.
        directory: Where to look for modules, in addition to the import path of Python.

    Raises:
        SettingsError: The name does not exist, or is not an implementation.
        CaptureError: The file of a captured pod is malformed.
    """
    if rules is not None:
        from pytest_fsmredir.implementations.rules_file import RulesFile

        return RulesFile(rules)
    if replay is not None:
        from pytest_fsmredir.implementations.replayed.pod import ReplayedPod
        from pytest_fsmredir.model.capture_file import read_capture

        return ReplayedPod(read_capture(replay))
    if init_cmd:
        return InitCommand(init_cmd, base=init_cmd_base)
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    found = _from_module(name, where, directory) if ":" in name else _from_entry_point(name, where)
    return _implementation(found, f"{where}: {name}")


def claims(
    implementation: Implementation, statements: Mapping[str, Sequence[str]], *, inferred: bool
) -> Claims:
    """Return the effective feature claims.

    Args:
        implementation: The claims of the implementation.
        statements: The user's claims by source, lowest precedence first: each is either a complete
            list of features, which may be empty, or changes such as ``+ipv6`` and ``-removal``.
        inferred: Whether the implementation cannot declare claims itself.

    Raises:
        SettingsError: A statement mixes both forms, or names an unknown feature.
    """
    features = frozenset(Feature(each) for each in implementation.features)
    for where, statement in statements.items():
        features = _applied(where, statement, features)
    undeclared = inferred and not statements
    return Claims(features, ClaimSource.INFERRED if undeclared else ClaimSource.DECLARED)


def _applied(
    where: str, statement: Sequence[str], features: frozenset[Feature]
) -> frozenset[Feature]:
    if not statement:
        return frozenset()
    signs = {item[:1] if item[:1] in ("+", "-") else "" for item in statement}
    if "" in signs and len(signs) > 1:
        raise SettingsError(
            f"{where}: {', '.join(statement)}: give either a list of features, or changes that all"
            " begin with + or -"
        )
    added = {_feature(item, where) for item in statement if not item.startswith("-")}
    removed = {_feature(item, where) for item in statement if item.startswith("-")}
    return frozenset(added) if "" in signs else (features | added) - removed


def _feature(item: str, where: str) -> Feature:
    name = item.lstrip("+-").strip()
    if name not in list(Feature):
        raise SettingsError(
            f"{where}: there is no feature {name!r}{nearest(name, Feature)}"
            f" (known: {', '.join(Feature)})"
        )
    return Feature(name)


def _reference() -> Implementation:
    from pytest_fsmredir.implementations.reference.programming import Reference

    return Reference()


_BUILT_IN: dict[str, Callable[[], Implementation]] = {"reference": _reference}


def _from_module(name: str, where: str, directory: Path | None) -> object:
    module_name, _, attribute = name.partition(":")
    with _importable(directory):
        module = _loaded(lambda: import_module(module_name), f"{where}: {name}")
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [each for each in dir(found) if not each.startswith("_")]
            raise SettingsError(
                f"{where}: {module_name} has no {attribute!r}{nearest(part, public)}"
            )
        found = getattr(found, part)
    return found


def _from_entry_point(name: str, where: str) -> object:
    registered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in registered:
        known = sorted({*_BUILT_IN, *registered})
        raise SettingsError(
            f"{where}: no implementation is called {name!r}{nearest(name, known)}"
            f" (there are: {', '.join(known)}; or give module:attribute)"
        )
    return _loaded(registered[name].load, f"{where}: {name}")


def _loaded(load: Callable[[], object], where: str) -> object:
    try:
        return load()
    except Exception as error:  # a vendor's module can raise anything on import
        raise SettingsError(
            f"{where} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _implementation(found: object, where: str) -> Implementation:
    """Return an implementation; call the object if it is a class or a factory."""
    if isinstance(found, type) or (callable(found) and not hasattr(found, "program")):
        try:
            found = found()
        except Exception as error:
            raise SettingsError(
                f"{where}: calling it without arguments raised {type(error).__name__}: {error}"
            ) from error
    missing = [name for name in ("name", "features", "program") if not hasattr(found, name)]
    if missing:
        raise SettingsError(
            f"{where}: {type(found).__name__} object has no {' and no '.join(missing)}: an"
            " implementation is an object with name, features and program(target)"
        )
    made = cast("Implementation", found)
    for feature in made.features:
        _feature(str(feature), f"{where}: features")
    return made


@contextmanager
def _importable(directory: Path | None) -> Iterator[None]:
    """Add a directory to the end of the import path for the block."""
    if directory is not None:
        sys.path.append(str(directory))
    try:
        yield
    finally:
        if directory is not None:
            sys.path.remove(str(directory))
