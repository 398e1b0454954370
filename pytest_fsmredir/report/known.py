"""The catalogues of checks that were released: data files of the package, one for each version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pytest_fsmredir import layout
from pytest_fsmredir.errors import CatalogueError
from pytest_fsmredir.model.checks import Catalogue, Check, Level, Profile
from pytest_fsmredir.model.features import Feature

FOLDER = "catalogues"
"""The folder of the data files, below the shipped fixtures."""


@dataclass(frozen=True, slots=True)
class Release:
    """The catalogue of one version of the suite.

    Attributes:
        version: The version.
        catalogue: The checks. Their functions do nothing.
    """

    version: str
    catalogue: Catalogue

    @property
    def digest(self) -> str:
        """The digest as reports have it."""
        return f"sha256:{self.catalogue.digest}"


@cache
def releases() -> tuple[Release, ...]:
    """Return the known catalogues.

    Raises:
        CatalogueError: A data file does not match its own digest.
    """
    files = sorted((layout.fixtures() / FOLDER).glob("*.json"))
    return tuple(_release(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def catalogue_text(version: str, catalogue: Catalogue) -> str:
    """Return the data file of a catalogue, one check a line."""
    checks = ",\n".join(json.dumps(check.as_dict(), sort_keys=True) for check in catalogue.checks)
    return (
        f'{{"version": "{version}", "digest": "sha256:{catalogue.digest}",\n'
        f'"checks": [\n{checks}\n]}}\n'
    )


def _release(document: Mapping[str, Any]) -> Release:
    release = Release(document["version"], Catalogue(map(_check, document["checks"])))
    if release.digest != document["digest"]:
        raise CatalogueError(
            f"fixtures/{FOLDER}/{release.version}.json does not match its digest: reinstall"
            " pytest-fsmredir"
        )
    return release


def _check(document: Mapping[str, Any]) -> Check:
    return Check(
        id=document["id"],
        requirement=document["requirement"],
        spec=document["spec"],
        level=Level(document["level"]),
        profile=Profile(document["profile"]),
        features=frozenset(map(Feature, document["features"])),
        needs=frozenset(document["needs"]),
        families=tuple(document["families"]),
        function=_named(document["title"]),
    )


def _named(title: str) -> Callable[[object], None]:
    """Return a function whose name gives a check its title."""

    def function(_mesh: object) -> None:
        """Do nothing: the code of a released check is in its release."""

    function.__name__ = title.replace(" ", "_")
    return function
