"""``--fsm-nodes all`` on a simulated cluster: an API server whose pods are network namespaces.

The agents, the streams and the packets are real; nodes and kubelets are not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.simulated.running import simulated

if TYPE_CHECKING:
    from tests.plugin.conftest import Ended, Project

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("namespaces"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

CHECKS = "--fsm-check=OUT-001,IN-001"


def streamed(ended: Ended) -> list[str]:
    """Return the names of the nodes whose verdicts were printed before the summary, in order."""
    before, _, _ = ended.output.partition("= conformance =")
    lines = [line for line in before.splitlines() if line.startswith("verdict on cluster:")]
    return [line.split(":")[1] for line in lines]


def test_nodes_are_judged_in_turn_and_few_have_pods_at_a_time(project: Project) -> None:
    """Catches: pods of all nodes at once, or verdicts that come with the last node only."""
    with simulated(10, project.path) as cluster:
        ended = project.conform(*cluster.options, CHECKS, "--fsm-report=out")
        asked = cluster.requests()
    assert ended.outcomes() == ["pass"] * 20, ended.output
    assert streamed(ended) == [f"node-{number:02}" for number in range(1, 11)]
    assert not ended.report["run"]["hygiene"]["reordered"]
    # A server, a client and a pod in the network of each node, and one pod for each of 9 nodes.
    assert asked["most pods"] <= 2 + 10 + 9
    assert asked["POST pods"] == 2 + 10 + 10
    assert asked["GET pods"] < 6 * 10


def test_node_that_dies_costs_its_own_verdict_alone(project: Project) -> None:
    """Catches: a dead node that ends the run, or fails the nodes after it.

    Node 2 has the server, and node 3 the client: the first dies with its own checks, the other
    while the checks of node 1 run.
    """
    with simulated(5, project.path, "node-02=1", "node-03=0") as cluster:
        ended = project.conform(*cluster.options, CHECKS, "--fsm-report=out")
    found = {each["name"]: each for each in ended.report["nodes"]}
    assert [each["verdict"] for each in found.values()] == [
        "partial", "invalid", "invalid", "partial", "partial",
    ], ended.output  # fmt: skip
    errors = [row for row in ended.report["checks"] if row["outcome"] == "error"]
    assert {row["node"] for row in errors} == {"node-02", "node-03"}
    assert any("the node node-03 was lost: not Ready" in row["reason"] for row in errors)
    assert streamed(ended) == list(found)
