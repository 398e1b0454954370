"""The catalogues of checks that are known: one data file for each release, and the present code.

A release adds its data file: ``python -m docs.release``.
"""

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
from pytest_fsmredir.report.version import suite_version
from pytest_fsmredir.suite import catalogue

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


@cache
def present() -> Release:
    """Return the catalogue of the installed code, which may not be released yet."""
    return Release(suite_version(), catalogue.load())


def with_digest(digest: str) -> Release | None:
    """Return the catalogue with a digest, as reports have it; None if none is known."""
    found = next((each for each in releases() if each.digest == digest), None)
    if found is None and present().digest == digest:
        return present()
    return found


def data_file(release: Release) -> str:
    """Return the data file of a catalogue, one check a line."""
    checks = release.catalogue.checks
    lines = ",\n".join(json.dumps(check.as_dict(), sort_keys=True) for check in checks)
    return (
        f'{{"version": "{release.version}", "digest": "{release.digest}",\n'
        f'"checks": [\n{lines}\n]}}\n'
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
