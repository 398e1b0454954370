"""The identity of the implementation under test, as its vendor states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.text import nearest

_KEYS = ("organization", "project", "url", "version", "contact", "mode")
_FOR_A_REPORT = ("organization", "project", "url", "version", "contact")
_BRANCHES = ("main", "master", "head", "latest", "trunk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The contents of the key ``implementation`` in the options file.

    Attributes:
        organization: The vendor.
        project: Name of the project.
        url: URL of the project.
        version: The tested release or commit, not a branch.
        contact: Names or addresses for questions.
        mode: The tested redirection mode, if the project has several.
    """

    organization: str = ""
    project: str = ""
    url: str = ""
    version: str = ""
    contact: tuple[str, ...] = ()
    mode: str = "default"

    @property
    def stated(self) -> bool:
        """Whether the vendor states any fact."""
        return self != Identity()

    def require_complete(self, where: str) -> None:
        """Require all facts that a report needs, or none.

        Raises:
            SettingsError: Some facts are stated, but a required fact is missing.
        """
        missing = [key for key in _FOR_A_REPORT if not getattr(self, key)]
        if self.stated and missing:
            raise SettingsError(f"{where}: implementation: a report also needs {_series(missing)}")


def read_identity(document: object, where: str) -> Identity:
    """Return the identity that an options file states.

    Args:
        document: The value of the key ``implementation``.
        where: The file, for messages.

    Raises:
        SettingsError: A key or a value is invalid.
    """
    if not isinstance(document, Mapping):
        raise SettingsError(f"{where}: implementation: {document!r} must be a mapping")
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in _KEYS:
            raise SettingsError(
                f"{where}: implementation.{key}: no such key{nearest(str(key), _KEYS)}"
                f" (known: {', '.join(_KEYS)})"
            )
        values[key] = _contacts(value, where) if key == "contact" else _text(key, value, where)
    identity = Identity(**values)
    for key in ("project", "version"):
        if not getattr(identity, key):
            raise SettingsError(f"{where}: implementation.{key} is missing")
    return identity


def _text(key: str, value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{where}: implementation.{key}: {value!r} must be a string")
    text = value.strip()
    if key == "url" and not is_link(text):
        raise SettingsError(f"{where}: implementation.url: {text!r} must be an http or https URL")
    if key == "version" and text.lower() in _BRANCHES:
        raise SettingsError(
            f"{where}: implementation.version: {text!r} is a branch and changes over time; name a"
            " release or a commit"
        )
    return text


def _contacts(value: object, where: str) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    texts = tuple(item.strip() for item in items if isinstance(item, str) and item.strip())
    if not texts or len(texts) != len(items):
        raise SettingsError(
            f"{where}: implementation.contact: {value!r} must be a list of names or addresses"
        )
    return texts


def is_link(text: str) -> bool:
    """Whether a text is an http or https address."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _series(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
