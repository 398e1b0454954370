"""Read settings as pytest does, in a temporary project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

import pytest

from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.reading import read_settings
from pytest_fsmredir.config.settings import Settings


class Project:
    """A host project: a directory, ini settings, and a command line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ini: dict[str, str | None] = dict.fromkeys(option.key for option in OPTIONS)
        self.told_pytest: dict[str, object] = {}
        self.directory = path

    def write(self, text: str, name: str = "fsmredir.yaml") -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def settings(
        self,
        some: Mapping[str, str] = MappingProxyType({}),
        *,
        conformance: bool = True,
        **options: str | bool,
    ) -> Settings:
        """Read settings. Give an option by its name with underscores."""
        given = {option.key: {**some, **options}.get(option.key[4:]) for option in OPTIONS}
        given["fsm_conformance"] = conformance or None
        config = SimpleNamespace(
            getoption=lambda name, default=None: {**self.told_pytest, **given}.get(name, default),
            getini=self.ini.__getitem__,
            rootpath=self.path,
            inipath=None,
            invocation_params=SimpleNamespace(dir=self.directory, args=()),
        )
        return read_settings(cast("pytest.Config", config))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for option in OPTIONS:
        monkeypatch.delenv(option.key.upper(), raising=False)
    return Project(tmp_path)
