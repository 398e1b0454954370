"""Measure a run on clusters of more and more nodes: what does a further node cost the run?

The cluster is simulated (:mod:`tests.simulated`): the API server, the kubelets and the nodes run in
a process of their own, which is not measured. Agents, streams and packets are real.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.simulated.running import simulated

SIZES = (5, 20, 50)
CHECKS = ("OUT-001", "IN-001", "UID-001", "UID-002")


class Cost(NamedTuple):
    """The cost of one run.

    Attributes:
        nodes: The nodes of the cluster.
        wall_s: Seconds from its start to its end.
        processor_s: Seconds of processor time.
        mebibytes: Its peak memory.
        requests: Requests to the API server.
        pods: Pods that the run made.
        most_pods: The largest number of them at one time.
        passed: Results that passed.
    """

    nodes: int
    wall_s: float
    processor_s: float
    mebibytes: float
    requests: int
    pods: int
    most_pods: int
    passed: int


def nodes() -> None:
    """Print what runs on clusters of several sizes cost, and what a further node adds."""
    costs = []
    for number in SIZES:
        costs.append(cost := _run(number))
        print(
            f"{cost.nodes:2} nodes, {cost.passed:4} passed   {cost.processor_s:6.2f} s of processor"
            f" time, {cost.wall_s:6.2f} s, {cost.mebibytes:4.0f} MB, {cost.requests} requests,"
            f" {cost.pods} pods, {cost.most_pods} at a time",
            flush=True,
        )
    for before, after in pairwise(costs):
        more = after.nodes - before.nodes
        print(
            f"a further node ({before.nodes} to {after.nodes})"
            f"   {(after.processor_s - before.processor_s) / more:6.3f} s of processor time,"
            f" {(after.mebibytes - before.mebibytes) / more:.2f} MB,"
            f" {(after.requests - before.requests) / more:.1f} requests"
        )


def _run(number: int) -> Cost:
    with tempfile.TemporaryDirectory() as empty, simulated(number, Path(empty)) as cluster:
        argv = [
            *(sys.executable, "-m", "pytest", "--fsm-conformance", "-q", "-p", "no:cacheprovider"),
            *cluster.options,
            f"--fsm-check={','.join(CHECKS)}",
        ]
        started = time.perf_counter()
        with (Path(empty) / "output").open("wb") as output:
            process = subprocess.Popen(argv, cwd=empty, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        printed = (Path(empty) / "output").read_text()
        if status != 0:
            print(f"  (the run ended with status {os.waitstatus_to_exitcode(status)})")
        asked = dict(cluster.requests())
    most, pods = asked.pop("most pods"), asked["POST pods"]
    return Cost(
        nodes=number,
        wall_s=wall_s,
        processor_s=usage.ru_utime + usage.ru_stime,
        mebibytes=usage.ru_maxrss / 1024,
        requests=sum(asked.values()),
        pods=pods,
        most_pods=most,
        passed=_passed(printed),
    )


def _passed(printed: str) -> int:
    """Return the number of results that passed, from the last line of a run."""
    words = printed.splitlines()[-1].replace(",", "").split()
    return int(words[words.index("passed") - 1]) if "passed" in words else 0
