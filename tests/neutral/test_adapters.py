"""The adapters for other meshes' tools: what they pass on, with a stand-in for each tool."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_fsmredir import layout

ADAPTERS = layout.fixtures() / "adapters"
TOOLS = {
    "istio-iptables.sh": "istio-iptables",
    "linkerd2-proxy-init.sh": "linkerd2-proxy-init",
    "kumactl.sh": "kumactl",
}
LISTS = {
    "POD_IPS": "10.77.0.1,fd77:1::1",
    "FSM_PROXY_UID": "1500",
    "FSM_INBOUND_PORT": "15003",
    "FSM_OUTBOUND_PORT": "15001",
    "FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST": "",
    "FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST": "",
    "FSM_OUTBOUND_PORT_EXCLUSION_LIST": "",
    "FSM_INBOUND_PORT_EXCLUSION_LIST": "",
    "FSM_NETWORK_INTERFACE_EXCLUSION_LIST": "",
}


class Adapter:
    """An adapter, with its tool replaced by one that prints its arguments."""

    def __init__(self, name: str, directory: Path) -> None:
        self.script, self._path = ADAPTERS / name, f"{directory}:{os.environ['PATH']}"
        tool = directory / TOOLS[name]
        tool.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit ${TOOL_STATUS-0}\n")
        tool.chmod(0o755)

    def run(self, **lists: str) -> subprocess.CompletedProcess[str]:
        """Run it with some lists."""
        env = {**LISTS, **lists, "PATH": self._path}
        return subprocess.run(
            ["/bin/sh", str(self.script)], env=env, capture_output=True, text=True, check=False
        )

    def arguments(self, **lists: str) -> list[str]:
        """Return what its tool is given."""
        done = self.run(**lists)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(params=TOOLS)
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Each adapter in turn."""
    return Adapter(request.param, tmp_path)


def test_every_adapter_is_tested() -> None:
    assert {file.name for file in ADAPTERS.glob("*.sh")} == set(TOOLS)


def test_sidecar_is_passed_on(adapter: Adapter) -> None:
    assert {"1500", "15001", "15003"} <= set(adapter.arguments())


def test_reserved_ports_are_left_alone(adapter: Adapter) -> None:
    """B08: no other mesh knows of FSM's reserved ports."""
    assert "15010,15901,15902,15903,15904" in adapter.arguments()


def test_inbound_ports_are_added_to_the_reserved_ones(adapter: Adapter) -> None:
    arguments = adapter.arguments(FSM_INBOUND_PORT_EXCLUSION_LIST="6379,7070")
    assert "15010,15901,15902,15903,15904,6379,7070" in arguments


def test_outbound_lists_are_passed_on(adapter: Adapter) -> None:
    arguments = adapter.arguments(
        FSM_OUTBOUND_PORT_EXCLUSION_LIST="5432,5433",
        FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST="1.1.1.1/32,2.2.2.2/24",
    )
    assert {"5432,5433", "1.1.1.1/32,2.2.2.2/24"} <= set(arguments)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST", "10.0.0.0/8"),
        ("FSM_NETWORK_INTERFACE_EXCLUSION_LIST", "net1"),
    ],
)
def test_list_is_passed_on_or_refused(adapter: Adapter, variable: str, value: str) -> None:
    """A list that is left out in silence: accepted, and not honoured."""
    done = adapter.run(**{variable: value})
    assert done.returncode != 0 or value in done.stdout.splitlines()
    assert done.returncode == 0 or done.stderr


def test_invalid_items_reach_the_tool_unchanged(adapter: Adapter) -> None:
    """An adapter that repairs a list hides what is judged."""
    assert "6379,70000" in adapter.arguments(FSM_OUTBOUND_PORT_EXCLUSION_LIST="6379,70000")


def test_failure_of_the_tool_is_passed_on(adapter: Adapter) -> None:
    """B14: an init command that succeeds although the tool did not."""
    assert adapter.run(TOOL_STATUS="3").returncode == 3


@pytest.mark.parametrize("name", TOOLS)
def test_missing_tool_is_named(name: str) -> None:
    shell = Path("/bin/sh")
    done = subprocess.run(
        [str(shell), str(ADAPTERS / name)],
        env={**LISTS, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 127
    assert TOOLS[name] in done.stderr
