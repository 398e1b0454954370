"""Where values of options come from: the command line, the environment and ini-files.

This module and ``declaring`` are the only ones that read options from :class:`pytest.Config`. The
precedence is: command line, options file, environment, ini-file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir.config.default_file import project_file
from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.parsing import Given
from pytest_fsmredir.errors import SettingsError

_PYTEST_KIND = (
    "cluster_name", "keep_cluster", "kubeconfig", "kind_image", "kind_bin", "kind_kubectl_bin",
)  # fmt: skip

_PROJECT = (
    "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "tox.ini",
    "setup.cfg",
)  # fmt: skip
"""Files that pytest can read settings from (findpaths.locate_config in pytest)."""

Layer = Mapping[str, Given]
"""The values of one source, by name of the option."""


def reject_typed(config: pytest.Config) -> None:
    """Reject options of the command line that are invalid, or that a conformance run alone uses.

    The latter are accepted in ``addopts`` and in the environment, because another run may need
    them.

    Raises:
        pytest.UsageError: The command line has an option that would have no effect, or an invalid
            value.
    """
    typed = {argument.partition("=")[0] for argument in arguments(config)}
    given = command_line(config)
    for option in OPTIONS:
        if option.name.startswith("benchmark-") and option.switch in typed:
            raise pytest.UsageError(
                f"{option.switch} has an effect in a benchmark only: add --fsm-benchmark"
            )
        if option.suite and option.name in given and option.switch in typed:
            raise pytest.UsageError(
                f"{option.switch} has an effect in a conformance run only: add --fsm-conformance"
            )
        if option.choices and option.name in given:
            _reject_invalid(option, given[option.name])


def _reject_invalid(option: Option, given: Given) -> None:
    try:
        option.read(given)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


def command_line(config: pytest.Config) -> Layer:
    """Return the values on the command line."""
    base = config.invocation_params.dir
    given = {option: config.getoption(option.key) for option in OPTIONS}
    return {
        option.name: Given(_as_text(value), option.switch, base, transient=True)
        for option, value in given.items()
        if value is not None
    }


def pytest_kind(config: pytest.Config) -> dict[str, Any]:
    """Return the options of pytest-kind, by their names there; empty without pytest-kind."""
    given = {name: config.getoption(name, None) for name in _PYTEST_KIND}
    return {name: value for name, value in given.items() if value is not None}


def environment(config: pytest.Config) -> Layer:
    """Return the values in the environment; an empty variable is ignored if it may be empty."""
    base = config.invocation_params.dir
    return {
        option.name: Given(os.environ[option.variable], option.variable, base, transient=True)
        for option in OPTIONS
        if os.environ.get(option.variable) or (option.never_empty and option.variable in os.environ)
    }


def ini(config: pytest.Config) -> Layer:
    """Return the values in the project's pytest settings."""
    given = {option: config.getini(option.key) for option in OPTIONS}
    overridden = {each.partition("=")[0] for each in config.getoption("override_ini", None) or ()}
    lasting = _is_found_again(config)
    return {
        option.name: Given(
            str(value),
            f"ini {option.key}",
            config.rootpath,
            transient=not lasting or option.key in overridden,
        )
        for option, value in given.items()
        if value is not None
    }


def defaults(config: pytest.Config) -> Layer:
    """Return the default value of every option."""
    return {option.name: Given(option.default, "", config.rootpath) for option in OPTIONS}


def default_file(config: pytest.Config) -> Given:
    """Return the options file of the project; an empty value if it has none."""
    root = config.invocation_params.dir if _misleading(config) else config.rootpath
    file = project_file(root)
    if file is None:
        return Given("", "", root)
    return Given(file.name, "", file.parent, transient=not _is_found_again(config))


def reject_misled_root(config: pytest.Config) -> None:
    """Require that pytest reads the settings of the project, not those next to an option's value.

    pytest chooses its root directory before it knows the options of plugins. It takes the value of
    ``--fsm-rules ../other/my.rules`` for a test path then, and reads the settings of that
    directory. It does not so for ``--fsm-rules=../other/my.rules``.

    Raises:
        SettingsError: pytest reads other settings than without the value.
    """
    if not (words := _misleading(config)):
        return
    here = config.invocation_params.dir
    if config.inipath is not None or _settings_below(config.rootpath, here):
        raise SettingsError(
            f"{' '.join(words)}: pytest takes this value for a test path, and reads the settings"
            f" in {config.rootpath} instead of {here}: write {'='.join(words)}, with ="
        )


def _misleading(config: pytest.Config) -> tuple[str, ...]:
    """Return the option and the value that pytest chose its root directory by; empty if none."""
    here, root = config.invocation_params.dir, config.rootpath
    if root == here or config.getoption("inifilename", None) or config.getoption("rootdir", None):
        return ()
    if root in here.parents and not _settings_below(root, here):
        found = config.inipath is not None and config.inipath.parent == root
        if found or (root / "setup.py").is_file():  # as without the value
            return ()
    switches = {option.switch for option in OPTIONS if not option.flag}
    pairs = pairwise(arguments(config))
    return next((pair for pair in pairs if pair[0] in switches and (here / pair[1]).exists()), ())


def _settings_below(root: Path, here: Path) -> bool:
    """Whether a directory, or one between it and the root directory, has settings of pytest."""
    folders = takewhile(lambda folder: folder != root, (here, *here.parents))
    return any((folder / name).exists() for folder in folders for name in _PROJECT)


def arguments(config: pytest.Config) -> list[str]:
    """Return the arguments of the command line, unchanged."""
    return [str(argument) for argument in config.invocation_params.args]


def command(config: pytest.Config) -> list[str]:
    """Return the command that started the session; the xdist controller sends it to its workers."""
    given = getattr(config, "workerinput", {"mainargv": sys.argv})["mainargv"]
    by_module = Path(given[0]).name == "__main__.py"  # which is not a program name
    return [*([sys.executable, "-m", "pytest"] if by_module else given[:1]), *given[1:]]


def _is_found_again(config: pytest.Config) -> bool:
    """Whether pytest finds the same root directory if it runs in the same directory."""
    elsewhere = config.getoption("inifilename", None) or config.getoption("rootdir", None)
    here = config.invocation_params.dir
    return not elsewhere and config.rootpath in (here, *here.parents)


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "true" if value is True else str(value)
