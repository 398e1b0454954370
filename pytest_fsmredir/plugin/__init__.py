"""The pytest hooks of the plugin; each hook delegates to another module."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_fsmredir.config.declaring import add_options, is_requested, reject_unused

pytest_plugins = ["pytest_fsmredir.plugin.fixtures"]

_NOTICE = pytest.StashKey[str]()
_OF_WORKER = "fsmredir_notice"

_MARKER = "fsm_pod(annotations, mesh_config): settings of the pod that the fixture fsm_pod returns"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Handle the options that print something and run no test."""
    if config.getoption("fsm_list") or config.getoption("fsm_explain") is not None:
        from pytest_fsmredir.plugin.session import describe

        return describe(config)
    return None


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str]:
    """Report which implementation programs the pods of the fixtures."""
    return [line] if (line := _notice(config, items)) else []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Send the notice from a worker of pytest-xdist, which prints nothing, to the controller."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None and (line := _notice(session.config, session.items)):
        output[_OF_WORKER] = line


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist is not a dependency
    """Receive the notice from a worker of pytest-xdist."""
    if line := getattr(node, "workeroutput", {}).get(_OF_WORKER):
        node.config.stash[_NOTICE] = line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the notice at the end if only workers know the tests."""
    config = terminalreporter.config
    if config.pluginmanager.hasplugin("dsession") and _NOTICE in config.stash:
        terminalreporter.write_line(config.stash[_NOTICE])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses pods of the mesh once on each named node."""
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
    """Prepare a conformance run if the user requested one."""
    config.addinivalue_line("markers", _MARKER)
    if not is_requested(config):
        reject_unused(config)
        return
    from pytest_fsmredir.layout import CompiledFinder
    from pytest_fsmredir.plugin.garbage import collect_rarely

    config.add_cleanup(collect_rarely())  # this and the next are for the many imports that follow
    finder = CompiledFinder()
    sys.meta_path.insert(0, finder)
    config.add_cleanup(lambda: sys.meta_path.remove(finder))
    from pytest_fsmredir.plugin.session import prepare

    hooks = prepare(config)
    if not hooks:
        reject_unused(config)
    for each in hooks:
        config.pluginmanager.register(each)
