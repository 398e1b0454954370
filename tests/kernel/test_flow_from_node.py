"""``flow --from-node``: send a flow from the network of a process, as on the node of its pod."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from pytest_fsmredir.__main__ import main

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="enters a network namespace: needs root"),
]

POD = """
ip link set lo up
ip link add eth0 type veth peer name other
ip addr add 10.244.9.9/24 dev eth0
ip link set eth0 up; ip link set other up
ip neigh add 10.244.9.20 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
iptables-nft -t nat -A OUTPUT -p tcp -m owner ! --uid-owner 1500 -j REDIRECT --to-ports 15001
echo up
exec sleep 600
"""


@pytest.fixture
def pod() -> Iterator[int]:
    """The process id of a pod whose sidecar does not listen."""
    argv = ["unshare", "--net", "/bin/sh", "-ec", POD]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("uid", "status", "expected", "seen"),
    [
        ("1000", 1, "captured outbound", "refused; its packets went to 127.0.0.1:15001"),
        ("1500", 0, "direct", "no answer; its packets went there unchanged"),
    ],
)
def test_flow_leaves_the_network_of_the_process(
    uid: str, status: int, expected: str, seen: str, pod: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a flow from the node itself, or of another user."""
    ended = main(["flow", "--from-node", str(pod), "--out", "10.244.9.20:80", "--uid", uid])

    printed = capsys.readouterr()
    assert printed.err == ""
    lines = dict(line.split(maxsplit=1) for line in printed.out.splitlines())
    assert ended == status
    assert lines["expected"] == expected
    assert lines["seen"] == seen
    assert lines["path"].startswith("OUTPUT #1 ")
