"""After the collection, report which implementation programs the pods of the fixtures."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_fsmredir.errors import FsmRedirError

_FIXTURE, _BACKEND = "fsm_implementation", "fsm_backend"
_OWN = "pytest_fsmredir.plugin.fixtures"
_LABEL = "fsm-redir fixtures: pods are programmed by"


def notice(config: pytest.Config, items: Iterable[pytest.Item]) -> str:
    """Return the line that names the implementation. At least one test must use pods."""
    asking = next(item for item in items if _BACKEND in getattr(item, "fixturenames", ()))
    module = _module_of(asking)
    if module != _OWN:
        return f"{_LABEL} the fixture {_FIXTURE} of {module}" if module else ""
    try:
        return f"{_LABEL} {_named(config)}"
    except FsmRedirError:
        return ""  # the first test that uses pods reports the error


def _named(config: pytest.Config) -> str:
    from pytest_fsmredir.config.reading import read_all_settings
    from pytest_fsmredir.plugin.session import judged

    settings = read_all_settings(config)
    name = judged(settings, config.invocation_params.dir).name
    if not settings.names_no_implementation or settings.kubernetes.init_image:
        return name
    return (
        f"{name}, which is built in: nothing names another implementation (--fsm-init-cmd,"
        " --fsm-rules, --fsm-impl, --fsm-init-image, fsmredir.yaml)"
    )


def _module_of(item: pytest.Item) -> str:
    """Return the module of the fixture ``fsm_implementation``; empty if pytest does not expose it.

    A project may override that fixture.
    """
    information = getattr(item, "_fixtureinfo", None)
    definitions = getattr(information, "name2fixturedefs", {}).get(_FIXTURE, ())
    return str(definitions[-1].func.__module__) if definitions else ""
