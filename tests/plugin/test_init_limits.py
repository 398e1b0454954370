"""Privileges of an init command: what an unprivileged init container may and may not do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

REFERENCE = f"{sys.executable} -m pytest_fsmredir reference apply"
WRITES_A_SETTING = f"{REFERENCE} && echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
CHECK = ("--fsm-check=OUT-001", "--fsm-ip=4")


def test_command_that_writes_a_kernel_setting_fails(project: Project) -> None:
    """Catches: an implementation that passes here and fails in every pod."""
    ended = project.conform("--fsm-init-cmd", WRITES_A_SETTING, *CHECK, "--fsm-report=out")
    assert ended.verdict == "nonconformant"
    assert "Read-only file system" in ended.output
    assert "if yours is privileged, add --fsm-init-privileged" in " ".join(ended.output.split())


def test_privileged_command_may_write_a_kernel_setting(project: Project) -> None:
    """Catches: no way to judge an implementation with a privileged init container."""
    command = ("--fsm-init-cmd", WRITES_A_SETTING)
    ended = project.conform(*command, *CHECK, "--fsm-init-privileged", "--fsm-report=out")
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert "in a privileged init container" in ended.output
    assert ended.report["implementation"]["initContainer"] == "privileged"


def test_options_file_declares_a_privileged_init_container(project: Project) -> None:
    """Catches: a declaration that every command line must repeat."""
    project.write(fsmredir__yaml=f"init-cmd: '{WRITES_A_SETTING}'\ninit-privileged: true\n")
    ended = project.conform(*CHECK)
    assert ended.status == pytest.ExitCode.OK, ended.output


def test_rerun_command_repeats_the_declaration(project: Project) -> None:
    """Catches: a command that judges a privileged implementation in an unprivileged container."""
    ended = project.conform("--fsm-init-cmd=true", "--fsm-init-privileged", *CHECK)
    again = "pytest --fsm-conformance --fsm-init-cmd true --fsm-init-privileged --fsm-ip 4"
    assert f"{again} --fsm-check OUT-001" in ended.output


DENIED = (
    "echo 1 >/proc/sys/kernel/printk",
    "echo 1 >/sys/class/net/lo/tx_queue_len",
    "mount -t tmpfs none .",
    "mount -o remount,bind,rw /proc/sys",
    "unshare --mount true",
    "unshare --user true",
    "nsenter --target=$$ --net true",
    "ip netns add fsmredir-never",
    "dmesg --clear",
)


def test_command_is_denied_what_a_runtime_denies(project: Project) -> None:
    """Catches: a privilege that an init container of Kubernetes does not have."""
    script = [
        f"if {{ {each}; }} 2>/dev/null; then echo '{each}' >&2; exit 9; fi" for each in DENIED
    ]
    ended = project.conform("--fsm-init-cmd", "\n".join([*script, REFERENCE]), *CHECK)
    assert ended.verdict == "partial", ended.output


GRANTED = (
    "grep -q ^NoNewPrivs:.0$ /proc/self/status",
    "cat /proc/sys/net/ipv4/ip_forward /sys/class/net/lo/mtu >/dev/null",
    "touch a && chown 1500:1500 a && chmod 4755 a",
    "chroot / true",
    "ip rule add fwmark 1 lookup 133 && ip rule del fwmark 1 lookup 133",
    "ip link set lo down && ip link set lo up",
    f"{sys.executable} -c 'import threading as t; it = t.Thread(); it.start(); it.join()'",
    f"{sys.executable} -c 'import socket as s; s.socket(s.AF_PACKET, s.SOCK_RAW)'",
    f"{sys.executable} -c 'import os; os.setgroups([]); os.setuid(1500)'",
)


def test_command_has_what_a_runtime_grants(project: Project) -> None:
    """Catches: a correct implementation without a privilege that every init container has."""
    script = [f"{{ {each}; }} || exit 9" for each in GRANTED]
    ended = project.conform("--fsm-init-cmd", "\n".join([*script, REFERENCE]), *CHECK)
    assert ended.verdict == "partial", ended.output


def test_mounts_of_a_privileged_command_are_removed(project: Project) -> None:
    """Catches: a mount that remains on the machine."""
    project.write(
        test_mounts__py="""
from pathlib import Path

def test_mounts(fsm_mesh):
    before = Path("/proc/self/mounts").read_text()
    assert fsm_mesh.try_pod().accepted
    assert fsm_mesh.try_pod().accepted
    assert Path("/proc/self/mounts").read_text() == before
"""
    )
    script = f"! mountpoint -q {project.path} && mount -t tmpfs none {project.path}"
    ended = project.pytest("--fsm-init-cmd", script, "--fsm-init-privileged")
    assert "1 passed" in ended.output, ended.output


def test_privileged_option_is_refused_in_a_cluster(project: Project) -> None:
    """Catches: an option that has no effect on this backend."""
    ended = project.conform("--fsm-backend=cluster", "--fsm-init-privileged")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "--fsm-init-privileged does not apply to the backend cluster" in ended.output


@pytest.mark.parametrize(
    ("takes", "words"),
    [
        ("ip -6 addr flush dev eth0", "eth0 has lost its address fd77:1::"),
        ("ip link set eth0 down", "the link eth0 is down or gone"),
        ("ip link del eth0", "the link eth0 is down or gone"),
        ("sysctl -qw net.ipv6.conf.all.disable_ipv6=1", "eth0 has lost its address fd77:1::"),
    ],
)
def test_command_that_removes_the_network_fails(project: Project, takes: str, words: str) -> None:
    """Catches: "invalid", a harness error, for a pod that lost an address or a link."""
    ended = project.conform(
        f"--fsm-init-cmd={REFERENCE} && {takes}", "--fsm-init-privileged", "--fsm-ip=6",
        "--fsm-check=OUT-001,OUT-006,V6-003,V6-007,PROTO-009,PROTO-014", "--fsm-timeout=0.2",
        "--fsm-report=out",
    )  # fmt: skip
    assert ended.verdict == "nonconformant", ended.output
    ran = [row for row in ended.report["checks"] if row["outcome"] != "not-run"]
    assert {row["outcome"] for row in ran} <= {"fail", "warn"}
    assert all(words in row["seen"] for row in ran)
