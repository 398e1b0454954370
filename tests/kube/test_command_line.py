"""Run ``pytest --fsm-conformance --fsm-backend kind`` as a user does."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_fsmredir.__main__ import main
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions, handle_of
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import (
    MANAGED_BY,
    OURS,
    OWNER,
    namespace_object,
    ourselves,
)
from pytest_fsmredir.backends.kubernetes.cluster.waiting import eventually
from pytest_fsmredir.backends.kubernetes.pods.images import pod_image
from pytest_fsmredir.traffic.packet import parsed
from tests.kube.gate import Gate

pytestmark = pytest.mark.kube

CHECKS = "OUT-001,IN-001,UID-001,OPX-001"
LIMIT_S = 300

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(kind: KindOptions) -> list[str]:
    """The command line that runs pytest on the session's cluster."""
    kubeconfig = Path(handle_of(kind).kubeconfig_path).absolute()
    options = [
        f"--cluster-name={kind.name}",
        f"--kubeconfig={kubeconfig}",
        *([f"--kind-bin={kind.kind}"] if kind.kind else []),
        *([f"--kind-kubectl-bin={kind.kubectl}"] if kind.kubectl else []),
    ]
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]


@pytest.fixture
def start(command: list[str], tmp_path: Path) -> Start:
    """Starts pytest on the session's cluster, in an empty directory."""

    def started(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    return started


@pytest.fixture
def cluster(kind: KindOptions) -> Iterator[Cluster]:
    """The API of the session's cluster."""
    with closing(Cluster(handle_of(kind).kubeconfig_path)) as api:
        yield api


def namespaces(cluster: Cluster) -> list[str]:
    """Return the namespaces of runs, without those that are being deleted."""
    found = cluster.get("/api/v1/namespaces", labelSelector=f"{MANAGED_BY}={OURS}")["items"]
    return [
        each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]
    ]


def report_of(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / "out" / "report.json").read_text())
    return document


def outcomes(directory: Path) -> dict[str, list[str]]:
    """Return the outcomes of the selected checks, by backend."""
    found: dict[str, list[str]] = {}
    for row in report_of(directory)["checks"]:
        if row["id"] in CHECKS.split(","):
            found.setdefault(row["backend"], []).append(row["outcome"])
    return found


def test_matrix_of_namespaces_and_real_pods(start: Start, tmp_path: Path, cluster: Cluster) -> None:
    """Catches: two backends fail in one run, or a namespace stays behind."""
    asked = ["--fsm-check", CHECKS, "--fsm-ip", "4", "--fsm-report", "out"]
    output, _ = start("--fsm-conformance", "--fsm-backend", "netns,kind", *asked).communicate(
        timeout=LIMIT_S
    )

    assert outcomes(tmp_path) == {"netns": 4 * ["pass"], "kind": 4 * ["pass"]}, output
    assert "8 passed" in output
    assert namespaces(cluster) == []


def test_broken_implementation_fails_in_real_pods(start: Start, tmp_path: Path) -> None:
    """Catches: every implementation passes in a cluster, or a failure leaves no packets."""
    command = "iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15001"
    asked = ["--fsm-check", CHECKS, "--fsm-ip", "4", "--fsm-report", "out"]
    run = start("--fsm-conformance", "--fsm-backend", "kind", "--fsm-init-cmd", command, *asked)
    output, _ = run.communicate(timeout=LIMIT_S)

    assert outcomes(tmp_path) == {"kind": 4 * ["fail"]}, output
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert report_of(tmp_path)["verdict"] == "nonconformant"
    evidence = tmp_path / "out" / "evidence"
    inbound = evidence / "IN-001-kind-nft-v4"
    assert "notTaken" not in yaml.safe_load((inbound / "README.yaml").read_text())
    assert (inbound / "trace.txt").read_text().endswith("\nnft ip nat PREROUTING #1\n")
    assert re.search(r"nat: \+1 .*--to-ports 15001", (inbound / "counted.txt").read_text())
    there, redirected = (
        destinations((inbound / name).read_bytes())
        for name in ("packets-outside.pcap", "packets-in-pod.pcap")
    )
    assert there == redirected == {8080}
    (_, outside) = (evidence / "OUT-001-kind-nft-v4").glob("*.pcap")
    assert destinations(outside.read_bytes()) == {8080}
    # Checks that share a pod share its container for evidence.
    pod = yaml.safe_load((evidence / "UID-001-kind-nft-v4" / "pod.yaml").read_text())
    assert len(pod["spec"]["ephemeralContainers"]) == 1


def destinations(capture: bytes) -> set[int]:
    """Return the ports to which a pcap file has requests to connect."""
    found, at = set(), 24
    while at < len(capture):
        (length,) = struct.unpack_from("<I", capture, at + 8)
        packet = parsed(capture[at + 16 : at + 16 + length])
        found |= {packet.destination.port} if packet.opens else set()
        at += 16 + length
    return found


def test_shell_opens_in_the_pod_of_a_failure(command: list[str], tmp_path: Path) -> None:
    """Catches: a shell that is not in the pod, or may not read its rules."""
    ours, theirs = pty.openpty()
    asked = ["--fsm-backend", "kind", "--fsm-init-cmd", "true", "--fsm-check", "OUT-001"]
    how = ["--fsm-conformance", "--fsm-ip", "4", "--fsm-evidence", "off", "--fsm-pause-on-fail"]
    run = subprocess.Popen(
        [*command, *how, *asked], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    lines = b"iptables-save -V; setpriv --reuid=1000 --clear-groups id -u; exit\n"
    os.write(ours, lines)
    printed = b""
    with suppress(OSError):  # EIO: the other side is closed
        while piece := os.read(ours, 65536):
            printed += piece
    os.close(ours)

    assert run.wait(LIMIT_S) == pytest.ExitCode.TESTS_FAILED, printed.decode()
    sheet, _, shell = printed.decode().partition("try\r\n")
    assert "paused at OUT-001[kind-nft-v4], as root in the pod 10." in sheet
    assert "(nf_tables)\r\n1000\r\n" in shell
    assert "verdict: nonconformant" in shell


def test_rules_file_programs_real_pods(start: Start, tmp_path: Path) -> None:
    """Catches: init containers cannot render a template, or render it without the pod's lists."""
    (tmp_path / "rules.v4").write_text(
        "*nat\n:OUT - [0:0]\n-A OUTPUT -p tcp -j OUT\n"
        "-A OUT -m owner --uid-owner {{ proxy_uid }} -j RETURN\n"
        "{% for each in pod_ips if ':' not in each %}-A OUT -d {{ each }}/32 -j RETURN\n"
        "{% endfor %}\n"
        "{% for port in outbound_port_exclusion_list %}\n"
        "-A OUT -p tcp --dport {{ port }} -j RETURN\n"
        "{% endfor %}\n"
        "-A OUT -p tcp -j REDIRECT --to-ports {{ outbound_port }}\nCOMMIT\n"
    )
    asked = ["--fsm-rules", "rules.v4", "--fsm-check", CHECKS, "--fsm-ip", "4"]
    run = start("--fsm-conformance", "--fsm-backend", "kind", *asked, "--fsm-report", "out")
    output, _ = run.communicate(timeout=LIMIT_S)

    expected = {"OUT-001": "pass", "IN-001": "fail", "UID-001": "pass", "OPX-001": "pass"}
    rows = report_of(tmp_path)["checks"]
    assert {row["id"]: row["outcome"] for row in rows if row["id"] in expected} == expected, output


def test_workers_share_one_cluster(start: Start, tmp_path: Path, cluster: Cluster) -> None:
    """Catches: each worker makes a cluster, or removes the cluster of another."""
    asked = ["--fsm-check", CHECKS, "--fsm-ip", "4", "--fsm-report", "out", "-n", "2"]
    output, _ = start("--fsm-conformance", "--fsm-backend", "kind", *asked).communicate(
        timeout=LIMIT_S
    )

    assert outcomes(tmp_path) == {"kind": 4 * ["pass"]}, output
    assert namespaces(cluster) == []


def test_every_node_has_a_verdict(start: Start, tmp_path: Path, kind: KindOptions) -> None:
    """Catches: nodes share a row, or their ids differ between workers."""
    node = f"{kind.name}-control-plane"
    asked = ["--fsm-check", "OUT-001,KUBE-001", "--fsm-ip", "4", "--fsm-report", "out", "-n", "2"]
    run = start("--fsm-conformance", "--fsm-backend", "kind", "--fsm-nodes", "all", "-v", *asked)
    output, _ = run.communicate(timeout=LIMIT_S)

    assert run.returncode == pytest.ExitCode.OK, output
    assert f"KUBE-001[kind:{node}-nft-v4]" in output
    assert f"verdict on kind:{node}: partial (2 passed, " in output
    (told,) = report_of(tmp_path)["nodes"]
    assert (told["name"], told["pass"], told["verdict"]) == (node, 2, "partial")


def test_node_of_an_id_is_found_by_keyword(start: Start, kind: KindOptions) -> None:
    """Catches: neither ``-k`` nor a list of checks can select an id with a node."""
    word = f"kind:{kind.name}-control-plane"
    asked = ["--fsm-check", "OUT-001", "--fsm-ip", "4", "--fsm-nodes", "all", "--co", "-q"]
    run = start("--fsm-conformance", "--fsm-backend", "netns,kind", *asked, "-k", word)
    output, _ = run.communicate(timeout=LIMIT_S)

    assert run.returncode == pytest.ExitCode.OK, output
    assert f"::OUT-001[{word}-nft-v4]" in output
    assert "OUT-001[netns" not in output


def test_unknown_node_is_a_usage_error(start: Start, kind: KindOptions) -> None:
    """Catches: a run judges other nodes than the named ones."""
    run = start("--fsm-conformance", "--fsm-backend", "kind", "--fsm-nodes", "no-such-node")
    output, _ = run.communicate(timeout=LIMIT_S)

    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"no node is called 'no-such-node' (there are: {kind.name}-control-plane)" in output


def until_a_check_is_over(run: subprocess.Popen[str]) -> str:
    """Return what a run prints until its first check has passed."""
    assert run.stdout is not None
    seen = []
    for line in run.stdout:
        seen.append(line)
        if "PASSED" in line:
            break
    return "".join(seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing_behind(
    start: Start, cluster: Cluster, number: signal.Signals
) -> None:
    """Catches: pods keep running after Ctrl-C, or after a cancelled CI job."""
    asked = ["--fsm-check", f"{CHECKS},KUBE-01*", "--fsm-ip", "4", "-v"]
    run = start("--fsm-conformance", "--fsm-backend", "kind", *asked)
    seen = until_a_check_is_over(run)
    run.send_signal(number)
    rest, _ = run.communicate(timeout=LIMIT_S)

    assert run.returncode == pytest.ExitCode.INTERRUPTED, seen + rest
    assert "verdict: partial" in rest
    assert namespaces(cluster) == []


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_killed_run_leaves_nothing_behind(
    start: Start, cluster: Cluster, workers: Sequence[str]
) -> None:
    """Catches: the namespace of a killed run stays until the next run."""
    asked = ["--fsm-check", f"{CHECKS},KUBE-01*", "--fsm-ip", "4", "-v"]
    run = start("--fsm-conformance", "--fsm-backend", "kind", *asked, *workers)
    until_a_check_is_over(run)
    assert namespaces(cluster)
    run.kill()
    run.communicate(timeout=LIMIT_S)

    eventually(lambda: not namespaces(cluster), 60.0, "the namespaces of the run to be removed")


def test_leftovers_are_removed_on_demand(
    kind: KindOptions, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: ``clean`` keeps the namespace of a killed run, or removes that of a running one."""
    gone = ourselves().rpartition("/")[0] + "/4194305"  # beyond the highest process id
    for name, owner in (("fsmredir-over", gone), ("fsmredir-goes-on", ourselves())):
        document = namespace_object(name, name, {OWNER: owner})
        cluster.create("/api/v1/namespaces", document)
    programs = ["--kind-bin", kind.kind, "--kind-kubectl-bin", kind.kubectl]
    try:
        assert main(["clean", "--kind-cluster", kind.name, *programs]) == 0
        assert namespaces(cluster) == ["fsmredir-goes-on"]
    finally:
        cluster.delete("/api/v1/namespaces/fsmredir-goes-on")
    assert capsys.readouterr().out == "removed: namespace fsmredir-over\n"


def test_cluster_that_disappears_during_the_run(
    start: Start, tmp_path: Path, kind: KindOptions, cluster: Cluster
) -> None:
    """Catches: when its cluster disappears, a run hangs, fails the mesh, or has no verdict."""
    kubeconfig = yaml.safe_load(Path(handle_of(kind).kubeconfig_path).read_text())
    server = kubeconfig["clusters"][0]["cluster"]["server"]
    with closing(Gate("127.0.0.1", int(server.rpartition(":")[2]))) as gate:
        kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{gate.port}"
        (tmp_path / "way").write_text(yaml.safe_dump(kubeconfig))
        image = pod_image(os.environ.get("FSM_POD_IMAGE", ""))
        how = ["--fsm-kubeconfig", "way", "--fsm-inject", "manual", "--fsm-pod-image", image]
        asked = ["--fsm-check", "OUT-00*,IN-00*", "--fsm-ip", "4", "--fsm-report", "out", "-v"]
        run = start("--fsm-conformance", "--fsm-backend", "cluster", *how, *asked)
        seen = []
        assert run.stdout is not None
        for line in run.stdout:
            seen.append(line)
            if "PASSED" in line:
                break
    rest, _ = run.communicate(timeout=LIMIT_S)
    output = "".join(seen) + rest
    for name in namespaces(cluster):  # the run could not remove it
        cluster.delete(f"/api/v1/namespaces/{name}")

    assert run.returncode == pytest.ExitCode.TESTS_FAILED, output
    assert " FAILED" not in output
    assert "verdict: invalid" in output
    assert "left behind  cluster: " in output
    assert report_of(tmp_path)["verdict"] == "invalid"


def test_user_tests_run_on_each_node(start: Start, tmp_path: Path, kind: KindOptions) -> None:
    """Catches: the fixtures ignore ``--fsm-nodes``, or make pods on the wrong node."""
    (tmp_path / "test_it.py").write_text(
        "def test_it(fsm_pod, fsm_mesh, fsm_node):\n"
        "    assert fsm_pod.connect(fsm_mesh.server, 80).captured_outbound\n"
        "    assert fsm_node.endswith('-control-plane')\n"
    )
    output, _ = start("--fsm-backend", "kind", "--fsm-nodes", "all", "-v").communicate(
        timeout=LIMIT_S
    )

    assert f"test_it.py::test_it[{kind.name}-control-plane] PASSED" in output


def test_unknown_node_of_user_tests_is_a_usage_error(start: Start, tmp_path: Path) -> None:
    """Catches: an unknown node name is ignored."""
    (tmp_path / "test_it.py").write_text("def test_it(fsm_pod): pass\n")
    run = start("--fsm-backend", "kind", "--fsm-nodes", "no-such-node")
    output, _ = run.communicate(timeout=LIMIT_S)

    assert run.returncode != pytest.ExitCode.OK
    assert "--fsm-nodes: no node is called 'no-such-node'" in output


def test_example_of_the_documentation_runs_in_real_pods(start: Start) -> None:
    """Catches: fixtures work on network namespaces only."""
    example = Path(__file__).parents[2] / "docs" / "example"
    arguments = ["--fsm-backend", "kind", "--rootdir", str(example), str(example)]
    output, _ = start(*arguments).communicate(timeout=LIMIT_S)

    assert "7 passed" in output
