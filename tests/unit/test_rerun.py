"""The command line that re-runs a failed check."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.model.outcomes import Variant

if TYPE_CHECKING:
    from tests.unit.conftest import Project


def test_rerun_command_repeats_implementation_and_family(project: Project) -> None:
    """Catches: a command that judges another implementation, or the other address family."""
    settings = project.settings(
        init_cmd="sh my init.sh", features="-ipv6", iptables="both", report="out", strict=True
    )
    line = settings.again("OUT-001", Variant("netns", "legacy", 4))
    assert line == (
        "pytest --fsm-conformance --fsm-init-cmd 'sh my init.sh' --fsm-features=-ipv6 --fsm-strict"
        " --fsm-iptables legacy --fsm-ip 4 --fsm-check OUT-001"
    )


def test_rerun_command_works_in_another_shell(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a command that judges the reference, because the option was in the environment."""
    monkeypatch.setenv("FSM_INIT_CMD", "sh 'my init.sh'; true")
    monkeypatch.setenv("FSM_STRICT", "1")
    monkeypatch.setenv("FSM_EXHAUSTIVE", "0")
    monkeypatch.setenv("FSM_TIMEOUT", "9")
    monkeypatch.setenv("FSM_WAIVERS", "environment.yaml")
    waiver = "{id: OUT-001, reason: r, link: 'https://example.com/1'}"
    project.write(f"timeout: 3\nseed: 7\nwaivers: [{waiver}]")
    assert shlex.split(project.settings().again("OUT-001", Variant("netns", "nft", 4))) == [
        "pytest", "--fsm-conformance", "--fsm-init-cmd", "sh 'my init.sh'; true", "--fsm-strict",
        "--fsm-ip", "4", "--fsm-check", "OUT-001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "directory", "repeat"),
    [
        ({}, ".", ()),
        ({}, "sub", ()),
        ({"override_ini": ["fsm_seed=7"]}, ".", ("--fsm-seed", "7")),
        ({"inifilename": "b.ini"}, ".", ("FILE", "--fsm-rules", "r.v4", "--fsm-seed", "7")),
        ({"rootdir": "x"}, "sub", ("FILE", "--fsm-rules", "ROOT/r.v4", "--fsm-seed", "7")),
        ({}, "../elsewhere", ("FILE", "--fsm-rules", "ROOT/r.v4", "--fsm-seed", "7")),
    ],
)
def test_rerun_command_repeats_ini_settings_of_the_command_line(
    project: Project, told: dict[str, object], directory: str, repeat: Sequence[str]
) -> None:
    """Catches: a command without the settings of ``-o`` or ``-c``, or with the project's."""
    project.write("strict: true")
    project.ini |= {"fsm_rules": "r.v4", "fsm_seed": "7"}
    project.told_pytest, project.directory = told, (project.path / directory).resolve()
    root = str(project.path)
    file = "fsmredir.yaml" if directory == "." else f"{root}/fsmredir.yaml"
    assert project.settings().repeat == tuple(
        part
        for each in repeat
        for part in (["--fsm-options", file] if each == "FILE" else [each.replace("ROOT", root)])
    )


@pytest.mark.parametrize(
    ("environment", "file", "command_line", "repeat"),
    [
        ("ipv6,removal", "", "-removal", "ipv6"),
        ("+ipv6,-hairpin", "", "+hairpin", "+ipv6,+hairpin"),
        ("+ipv6", "-ipv6", "", "-ipv6"),
        ("ipv6", "hairpin, removal", "-removal", "hairpin"),
        ("", "ipv6, removal", "-removal", "ipv6"),
        ("", "ipv6", "", None),
    ],
)
def test_rerun_command_repeats_features_of_all_sources(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    file: str,
    command_line: str,
    repeat: str | None,
) -> None:
    """Catches: a check that is unsupported in the re-run, or two kinds of feature options."""
    monkeypatch.setenv("FSM_FEATURES", environment)
    project.write(f"features: [{file}]" if file else "")
    settings = project.settings({"features": command_line} if command_line else {})
    joined = [each.removeprefix("--fsm-features").lstrip("=") for each in settings.repeat]
    assert [each for each in joined if each] == ([repeat] if repeat else [])


def test_rerun_command_names_the_backend(project: Project) -> None:
    """Catches: a command that re-runs in network namespaces what failed in a cluster."""
    settings = project.settings(backend="netns,cluster", iptables="nft", context="prod")

    assert settings.again("OUT-001", Variant("cluster", "webhook", 4)) == (
        "pytest --fsm-conformance --fsm-context prod --fsm-backend cluster --fsm-ip 4"
        " --fsm-check OUT-001"
    )


def test_rerun_command_names_the_kind_cluster(project: Project) -> None:
    """Catches: a command that makes a new cluster without the mesh that failed."""
    settings = project.settings(backend="kind", ip="4")
    asked = {"cluster_name": "one", "keep_cluster": True, "kind_image": "node:1", "kind_bin": ""}
    settings = replace(settings, kubernetes=replace(settings.kubernetes, pytest_kind=asked))

    assert settings.again("OUT-001", Variant("kind", "nft", 4)) == (
        "pytest --fsm-conformance --fsm-backend kind --cluster-name one --keep-cluster"
        " --kind-image node:1 --fsm-ip 4 --fsm-check OUT-001"
    )
    default = {"cluster_name": "pytest-kind", "keep_cluster": False}
    settings = replace(settings, kubernetes=replace(settings.kubernetes, pytest_kind=default))
    assert "pytest-kind" not in settings.again("OUT-001", Variant("kind", "nft", 4))
