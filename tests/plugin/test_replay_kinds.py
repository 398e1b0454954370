"""``--fsm-replay`` of pods that correct implementations programmed by other means than ours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.cli.capture.command import main

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("namespaces"),
    pytest.mark.skipif(os.geteuid() != 0, reason="capture --from-node needs root"),
]

ROOT = Path(__file__).parents[2]
RANGES, PORTS = "10.9.0.0/16,2620:9::/48", "5432"
POD = f"""\
annotations:
  flomesh.io/outbound-ip-range-exclusion-list: "{RANGES}"
  flomesh.io/outbound-port-exclusion-list: "{PORTS}"
"""
MESH = "spec: {traffic: {networkInterfaceExclusionList: [data0]}}\n"
INTERFACES = """\
set -e
ip link set lo up
for each in ens5 data0; do
  ip link add $each type veth peer name x$each; ip link set $each up; ip link set x$each up
done
ip address add 10.2.0.9/24 dev ens5; ip address add fd00:2::9/64 dev ens5 nodad
ip address add 10.7.0.9/24 dev data0; ip address add fd00:7::9/64 dev data0 nodad
ip route add default via 10.2.0.1; ip route add default via fd00:2::1
ip route add 10.77.0.0/16 via 10.7.0.1; ip route add 2620:77::/48 via fd00:7::1
"""


@contextmanager
def programmed(project: Project, name: str, variant: str) -> Iterator[int]:
    """Let a neutral implementation program a namespace; yield a process in it."""
    tools = project.path / "tools"
    tools.mkdir()
    for program in ("iptables", "iptables-restore", "iptables-save"):
        for each in (program, program.replace("ip", "ip6", 1)):
            multi = shutil.which(f"xtables-{variant}-multi", path="/usr/sbin:/sbin")
            (tools / each).symlink_to(multi or "/bin/false")
    environment = {
        **os.environ,
        "PATH": f"{tools}:/usr/sbin:/sbin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "POD_IPS": "10.2.0.9,fd00:2::9",
        "FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST": RANGES,
        "FSM_OUTBOUND_PORT_EXCLUSION_LIST": PORTS,
        "FSM_NETWORK_INTERFACE_EXCLUSION_LIST": "data0",
    }
    run = shlex.join([sys.executable, "-m", f"tests.neutral.{name}"])
    script = f"{INTERFACES}\n{run} >&2\necho ready\nexec cat\n"
    argv = ["unshare", "--net", "sh", "-c", script]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize(
    ("name", "variant", "more"),
    [
        ("nftables", "nft", []),
        pytest.param("nftables", "nft", ["-n", "2"], marks=pytest.mark.slow),
        pytest.param("sets", "nft", [], marks=pytest.mark.slow),
        pytest.param("tproxy", "nft", ["-n", "2"], marks=pytest.mark.slow),
        pytest.param("tproxy", "legacy", [], marks=pytest.mark.slow),
        pytest.param("reordered", "legacy", [], marks=pytest.mark.slow),
    ],
)
def test_correct_pod_passes_and_is_proved(
    project: Project, name: str, variant: str, more: list[str]
) -> None:
    """Catches: a replay that fails a pod for its sets, its TPROXY, its routes or its interfaces."""
    if name == "sets" and shutil.which("ipset", path="/usr/sbin:/sbin") is None:
        pytest.skip("ipset is not installed: apt-get install ipset")
    project.write(pod__yaml=POD, mesh__yaml=MESH)
    files = ["--annotations", "pod.yaml", "--mesh-config", "mesh.yaml"]
    with programmed(project, name, variant) as pid:
        assert main(["--from-node", str(pid), *files, "-o", "pod.capture"]) == 0
    checks = "POD-*,OUT-00*,IN-00*,SAN-*"
    ended = project.conform("--fsm-replay", "pod.capture", "--fsm-check", checks, "-rw", *more)
    assert ended.status == 0, ended.output
    assert "WARN" not in ended.output
    assert ended.output.count("proved for every address, port and user") == 2
    assert "not proved" not in ended.output
