"""The pytest hooks; each delegates."""

from __future__ import annotations

import pytest

from pytest_fsmredir.config.options import add_options, is_asked_for, reject_stray

pytest_plugins = ["pytest_fsmredir.plugin.fixtures"]

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that has pods of the mesh once on each node that is named."""
    if "fsm_node" in metafunc.fixturenames:
        from pytest_fsmredir.plugin.fixtures import nodes_of_tests

        if names := nodes_of_tests(metafunc.config):
            metafunc.parametrize("fsm_node", names, indirect=True)


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
