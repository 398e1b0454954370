"""The pytest hooks; each delegates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_fsmredir.config.options import add_options, is_asked_for, reject_stray

pytest_plugins = ["pytest_fsmredir.plugin.fixtures"]

_NOTICE = pytest.StashKey[str]()
_OF_WORKER = "fsmredir_notice"

_MARKER = "fsm_pod(annotations, mesh_config): settings of the pod that the fixture fsm_pod returns"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer the options that run nothing."""
    if config.getoption("fsm_list") or config.getoption("fsm_explain") is not None:
        from pytest_fsmredir.plugin.session import describe

        return describe(config)
    return None


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str]:
    """Say which implementation programs the pods that tests ask for."""
    return [line] if (line := _notice(config, items)) else []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have a worker of pytest-xdist, which prints nothing, tell it to the controlling process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None and (line := _notice(session.config, session.items)):
        output[_OF_WORKER] = line


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist is not a dependency
    """Take the line over from a worker of pytest-xdist, which prints nothing."""
    if line := getattr(node, "workeroutput", {}).get(_OF_WORKER):
        node.config.stash[_NOTICE] = line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it at the end where workers alone know the tests."""
    config = terminalreporter.config
    if config.pluginmanager.hasplugin("dsession") and _NOTICE in config.stash:
        terminalreporter.write_line(config.stash[_NOTICE])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that has pods of the mesh once on each node that is named."""
    if "fsm_node" in metafunc.fixturenames:
        from pytest_fsmredir.plugin.fixtures import nodes_of_tests

        if names := nodes_of_tests(metafunc.config):
            metafunc.parametrize("fsm_node", names, indirect=True)


def _notice(config: pytest.Config, items: Sequence[pytest.Item]) -> str:
    if not any("fsm_backend" in getattr(item, "fixturenames", ()) for item in items):
        return ""
    from pytest_fsmredir.plugin.notice import notice

    return notice(config, items)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare a conformance run, when one was asked for."""
    config.addinivalue_line("markers", _MARKER)
    if not is_asked_for(config):
        reject_stray(config)
        return
    from pytest_fsmredir.plugin.session import prepare

    hooks = prepare(config)
    if hooks is None:
        reject_stray(config)
    else:
        config.pluginmanager.register(hooks, "fsmredir-conformance")
