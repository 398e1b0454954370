"""The adapters for other meshes' tools: the arguments that they pass to a stand-in for the tool."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.config.options_file import OptionsFile, read_options_file

ADAPTERS = layout.fixtures() / "adapters"
TOOLS = {
    "istio-iptables.sh": "istio-iptables",
    "linkerd2-proxy-init.sh": "linkerd2-proxy-init",
    "kumactl.sh": "kumactl",
    "consul.sh": "consul",
}
IPTABLES = [
    f"{family}{tool}" for family in ("iptables", "ip6tables") for tool in ("", "-save", "-restore")
]
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
    "FSM_IPTABLES": "legacy",
}
LIST_OF_FEATURE = {
    "outbound-ip-range-exclusion": (
        "FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST",
        "1.1.1.1/32,2.2.2.0/24",
    ),
    "outbound-ip-range-inclusion": ("FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST", "10.0.0.0/8"),
    "outbound-port-exclusion": ("FSM_OUTBOUND_PORT_EXCLUSION_LIST", "5432,5433"),
    "network-interface-exclusion": ("FSM_NETWORK_INTERFACE_EXCLUSION_LIST", "net1"),
}


class Adapter:
    """An adapter, with its tool replaced by one that prints its arguments, and with a user 1500."""

    def __init__(self, name: str, directory: Path) -> None:
        self.script, self._path = ADAPTERS / name, f"{directory}:{os.environ['PATH']}"
        _program(directory / TOOLS[name], "printf '%s\\n' \"$@\"\nexit ${TOOL_STATUS-0}")
        _program(directory / "getent", "exit ${USER_STATUS-0}")
        for program in IPTABLES:
            _program(directory / program, "exit 1")

    @property
    def options(self) -> OptionsFile:
        """The options file of the adapter."""
        return read_options_file(self.script.with_suffix(".yaml"))

    def run(self, without: str = "", **lists: str) -> subprocess.CompletedProcess[str]:
        """Run it with some lists, and without one variable."""
        env = {**LISTS, **lists, "PATH": self._path}
        env.pop(without, None)
        return subprocess.run(
            ["/bin/sh", str(self.script)], env=env, capture_output=True, text=True, check=False
        )

    def arguments(self, **lists: str) -> list[str]:
        """Return the arguments of its tool."""
        done = self.run(**lists)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


def passed(items: str, arguments: list[str]) -> bool:
    """Return whether a tool got a list: as one argument, or as one for each item."""
    return items in arguments or set(items.split(",")) <= set(arguments)


def _program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture(params=TOOLS)
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Each adapter in turn."""
    return Adapter(request.param, tmp_path)


def test_every_adapter_is_tested() -> None:
    assert {file.name for file in ADAPTERS.glob("*.sh")} == set(TOOLS)


def test_sidecar_is_passed_on(adapter: Adapter) -> None:
    assert {"1500", "15001", "15003"} <= set(adapter.arguments())


def test_reserved_ports_are_excluded(adapter: Adapter) -> None:
    """Catches: b08: no other mesh knows FSM's reserved ports."""
    assert passed("15010,15901,15902,15903,15904", adapter.arguments())


def test_inbound_ports_are_added_to_the_reserved_ones(adapter: Adapter) -> None:
    arguments = adapter.arguments(FSM_INBOUND_PORT_EXCLUSION_LIST="6379,7070")
    assert passed("15010,15901,15902,15903,15904,6379,7070", arguments)


@pytest.mark.parametrize("feature", LIST_OF_FEATURE)
def test_list_is_passed_on_if_claimed_and_refused_otherwise(adapter: Adapter, feature: str) -> None:
    """Catches: a list that is accepted and not honoured, or claimed and refused."""
    variable, value = LIST_OF_FEATURE[feature]
    done = adapter.run(**{variable: value})
    if feature in adapter.options.layer["features"].text.split(","):
        assert passed(value, done.stdout.splitlines())
    else:
        assert done.returncode == 1
        assert "cannot" in done.stderr


def test_linkerd_is_not_given_outbound_ranges_as_inbound_sources(tmp_path: Path) -> None:
    """Catches: outbound ranges in --subnets-to-ignore, which spares inbound clients (issue 12)."""
    adapter = Adapter("linkerd2-proxy-init.sh", tmp_path)
    assert "--subnets-to-ignore" not in adapter.arguments()
    assert adapter.run(FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST="1.1.1.1/32").returncode == 1


def test_kumactl_is_given_no_empty_list(tmp_path: Path) -> None:
    """Catches: --exclude-outbound-ips "", which kumactl refuses ("the rule cannot be empty")."""
    arguments = Adapter("kumactl.sh", tmp_path).arguments()
    assert "" not in arguments
    assert "--exclude-outbound-ips" not in arguments


def test_kumactl_adapter_refuses_a_missing_user(tmp_path: Path) -> None:
    """Catches: a pod that kumactl cannot program, without the command that fixes it."""
    done = Adapter("kumactl.sh", tmp_path).run(USER_STATUS="2")
    assert done.returncode == 1
    assert "useradd --system --uid 1500" in done.stderr


@pytest.mark.parametrize("name", ["istio-iptables.sh", "kumactl.sh"])
def test_tool_gets_the_variant(name: str, tmp_path: Path) -> None:
    """Catches: istio-iptables, which programs nft first and legacy in its second run."""
    arguments = Adapter(name, tmp_path).arguments()
    assert "legacy" in arguments or any(str(tmp_path / "iptables-save") in it for it in arguments)


def test_options_file_judges_the_adapter(adapter: Adapter) -> None:
    """Catches: an options file that names another script, or a report without its subject."""
    options = adapter.options
    assert options.layer["init-cmd"].text == f"./{adapter.script.name}"
    options.identity.require_complete("here")


def test_invalid_items_reach_the_tool_unchanged(adapter: Adapter) -> None:
    """Catches: an adapter that repairs a list and so hides the tool's behaviour."""
    arguments = adapter.arguments(FSM_OUTBOUND_PORT_EXCLUSION_LIST="6379,70000")
    assert passed("6379,70000", arguments)


@pytest.mark.parametrize("variable", [name for name in LISTS if name.endswith("_LIST")])
def test_list_without_a_variable_is_refused(adapter: Adapter, variable: str) -> None:
    """Catches: a list of more than 120 KiB taken for an empty one."""
    done = adapter.run(without=variable)
    assert done.returncode == 1
    assert f"{variable} is not set" in done.stderr


def test_failure_of_the_tool_is_passed_on(adapter: Adapter) -> None:
    """Catches: b14: an init command that succeeds although the tool failed."""
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
