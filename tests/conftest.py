"""Fixtures and hooks for all tests."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from typing import Any

import pytest

pytest_plugins = ["pytester"]

_MISSING = [name for name in ("kubernetes", "pytest_kind", "requests") if find_spec(name) is None]

collect_ignore = ["kube"] if _MISSING else []


_ON_HOST = ("tests/kube/", "tests/kernel/test_leftovers.py")


def pytest_configure() -> None:
    """Let programs that the tests start react to Ctrl-C, even in a background job of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Make two groups for ``--dist loadgroup``, each of which runs in one worker.

    Tests of a cluster share it, and change the host's network: Docker adds links and rules. So the
    tests that compare the state of the host belong to their group. Marks cannot say so, because
    pytest-xdist 3.8 writes them into an attribute that pytest 9.2 does not read (``Item._nodeid``).
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    scheduling: Any = LoadScopeScheduling(config, log)
    scheduling._split_scope = lambda nodeid: "host" if nodeid.startswith(_ON_HOST) else "others"
    return scheduling


def pytest_report_header() -> list[str]:
    """Report what cannot be tested on this machine."""
    if not _MISSING:
        return []
    return [f"tests/kube is left out, without {', '.join(_MISSING)}: pip install -e '.[kind]'"]
