"""Record other influences on a run: deselection, re-runs, foreign plugins and settings.

They cannot improve a verdict, because the verdict is computed from the catalogue. The report lists
them for its reader.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir.text import counted

_OWN = "pytest-fsmredir"
_INI = (
    "addopts",
    "filterwarnings",
    "python_files",
    "pythonpath",
    "required_plugins",
    "testpaths",
    "usefixtures",
    "xfail_strict",
)
_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")


@dataclass
class Hygiene:
    """The influences on a run.

    Attributes:
        deselected: Number of checks that our options selected and pytest or a plugin deselected.
        reordered: Whether a plugin changed the order of the checks.
        workers: Number of pytest-xdist workers; 0 without it.
        plugins: Loaded plugins: other distributions, and modules without a distribution.
        conftests: Every ``conftest.py``, relative to the root directory.
        settings: Pytest settings that affect what is collected and run.
    """

    deselected: int = 0
    reordered: bool = False
    workers: int = 0
    plugins: list[str] = field(default_factory=list)
    conftests: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    def notice_selection(self, collected: list[str], left: list[str]) -> None:
        """Compare the names of the collected checks with those that pytest will run."""
        self.deselected = len(collected) - len(left)
        kept = set(left)
        self.reordered = [name for name in collected if name in kept] != left

    def notice_surroundings(self, config: pytest.Config) -> None:
        """Record all influences except the selection."""
        modules = [p for p in config.pluginmanager.get_plugins() if hasattr(p, "__file__")]
        files = {str(module.__name__): Path(module.__file__ or "") for module in modules}
        conftests = [file for file in files.values() if file.name == "conftest.py"]
        self.conftests = sorted(_relative(file, config.rootpath) for file in conftests)
        self.plugins = sorted({*_distributions(config), *_undistributed(config, files)})
        self.settings = _settings(config)
        self.workers = int(getattr(config.option, "numprocesses", None) or 0)

    def merge(self, document: Mapping[str, Any]) -> None:
        """Merge the result of :meth:`for_controller` of a worker."""
        self.deselected = max(self.deselected, int(document["deselected"]))
        self.reordered = self.reordered or bool(document["reordered"])
        self.conftests = sorted({*self.conftests, *map(str, document["conftests"])})

    def for_controller(self) -> dict[str, Any]:
        """Return the influences that only a worker knows."""
        return {
            "deselected": self.deselected,
            "reordered": self.reordered,
            "conftests": self.conftests,
        }

    def as_dict(self, reruns: int) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "deselected": self.deselected,
            "reruns": reruns,
            "reordered": self.reordered,
            "workers": self.workers,
            "plugins": self.plugins,
            "foreignConftests": self.conftests,
            "settings": self.settings,
        }

    def remarks(self, reruns: int) -> list[str]:
        """Return short remarks for the reader of the verdict."""
        found = []
        if self.deselected:
            found.append(f"{counted(self.deselected, 'selected check')} deselected by pytest")
        if reruns:
            found.append(f"{counted(reruns, 'check')} run again (the worst outcome stands)")
        if self.reordered:
            found.append("order of the checks changed by a plugin")
        return found


def _distributions(config: pytest.Config) -> Iterable[str]:
    for _, distribution in config.pluginmanager.list_plugin_distinfo():
        if distribution.project_name != _OWN:
            yield f"{distribution.project_name} {distribution.version}"


def _undistributed(config: pytest.Config, files: Mapping[str, Path]) -> Iterable[str]:
    """Yield the plugins without a distribution: loaded with ``-p``, or by a conftest."""
    packaged = {getattr(p, "__name__", "") for p, _ in config.pluginmanager.list_plugin_distinfo()}
    roots = tuple({name.partition(".")[0] for name in packaged} | {"_pytest", "pytest_fsmredir"})
    for name, file in files.items():
        if file.name != "conftest.py" and name.partition(".")[0] not in roots:
            yield name


def _settings(config: pytest.Config) -> dict[str, str]:
    found = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    for name in _INI:
        try:
            value = config.getini(name)
        except (KeyError, ValueError):  # the plugin that defines it is disabled
            continue
        if value:
            found[name] = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def _relative(file: Path, root: Path) -> str:
    return os.path.relpath(file, root)
