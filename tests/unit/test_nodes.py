"""Nodes of a cluster: selection, names in test ids, and the verdict of each node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions, kind_nodes
from pytest_fsmredir.backends.kubernetes.cluster.nodes import Node, names_in_kind, node_of, pinned
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.judgement import Measure, Verdict, judge_nodes, worst_of
from pytest_fsmredir.suite.nodes import choose, require_ready

KIND = (Node("w-2"), Node("w-1"), Node("win", linux=False))
READY = {"type": "Ready", "status": "True"}
LENIENT = Measure(strict=False)


def names(chosen: dict[str, tuple[Node, ...]]) -> dict[str, list[str]]:
    return {backend: [node.name for node in nodes] for backend, nodes in chosen.items()}


def test_all_selects_the_linux_nodes_in_sorted_order() -> None:
    """Catches: pytest-xdist workers that collect in different orders."""
    assert names(choose(("all",), {"kind": KIND})) == {"kind": ["w-1", "w-2"]}
    assert names(choose(("all",), {"kind": KIND[::-1]})) == {"kind": ["w-1", "w-2"]}


def test_named_node_may_exist_in_one_cluster_only() -> None:
    """Catches: a name that must exist in every cluster of a matrix."""
    there = {"kind": KIND, "cluster": (Node("n-1"), Node("n-2"))}

    assert names(choose(("n-2", "w-1"), there)) == {"kind": ["w-1"], "cluster": ["n-2"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("w-3",), r"no node is called 'w-3'; did you mean 'w-2'\? \(there are: w-1, w-2\)"),
        (("w-1", "other"), r"no node is called 'other' \(there are: w-1, w-2\)"),
        (("win",), "the node win does not run Linux"),
    ],
)
def test_node_that_cannot_be_judged_is_refused(asked: tuple[str, ...], message: str) -> None:
    """Catches: a misspelled node that silently drops out of the verdict."""
    with pytest.raises(SettingsError, match=message):
        choose(asked, {"kind": KIND})


def test_backend_without_a_named_node_is_refused() -> None:
    """Catches: a backend that silently drops out because the named nodes are in another cluster."""
    with pytest.raises(SettingsError, match="none of w-1 is a Linux node of the backend cluster"):
        choose(("w-1",), {"kind": KIND, "cluster": (Node("n-1"),)})
    with pytest.raises(SettingsError, match=r"none of all .* there are: none"):
        choose(("all",), {"kind": (Node("win", linux=False),)})


def document(status: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "n", "labels": labels}, "status": status}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({"conditions": [READY]}, ""),
        ({"conditions": [{**READY, "status": "False", "message": "no CNI"}]}, "not Ready: no CNI"),
        ({"conditions": [{**READY, "status": "Unknown"}]}, "not Ready: its kubelet"),
        ({}, "not Ready: its kubelet"),
        ({"conditions": [READY], "allocatable": {"pods": "0"}}, "it takes no pods"),
    ],
)
def test_node_that_runs_no_pods_says_why(status: dict[str, Any], trouble: str) -> None:
    """Catches: an implementation blamed for pods that never ran."""
    node = node_of(document(status))

    assert node.trouble.startswith(trouble)
    assert bool(node.trouble) is bool(trouble)


def test_unusable_nodes_are_named_before_the_run() -> None:
    """Catches: a run that waits for pods that no kubelet will start."""
    chosen = {"kind": (Node("a"), Node("b", trouble="not Ready: no CNI"))}

    with pytest.raises(PreflightError, match=r"no pod can run on b \(not Ready: no CNI\)"):
        require_ready(chosen)
    require_ready({"kind": (Node("a"),)})


def test_operating_system_is_read_from_the_label_or_the_node_info() -> None:
    """Catches: a Windows node selected for iptables checks."""
    windows: dict[str, Any] = {"nodeInfo": {"operatingSystem": "windows"}}

    assert not node_of(document(windows)).linux
    assert node_of(document(windows, **{"kubernetes.io/os": "linux"})).linux


def test_pinned_pod_runs_on_its_node_despite_taints() -> None:
    """Catches: a pod on another node than the one that its row names."""
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": []}}

    spec = pinned(pod, "w-1")["spec"]

    affinity = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    assert term["matchFields"][0]["values"] == ["w-1"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert pinned(pod, "") is pod
    assert "w-2" in repr(pinned(pod, "w-1", "w-2"))


def test_kind_names_its_nodes_by_their_role() -> None:
    """Catches: nodes that have no names before the cluster exists."""
    roles = ["control-plane", "worker", "control-plane", "worker", "worker"]

    assert names_in_kind("k", roles) == (
        "k-control-plane", "k-worker", "k-control-plane2", "k-worker2", "k-worker3",
    )  # fmt: skip


@pytest.fixture
def without_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that kind and Docker are installed and that there is no cluster."""
    where = "pytest_fsmredir.backends.kubernetes.cluster.kind"
    monkeypatch.setattr(f"{where}.preflight", lambda _options: None)
    monkeypatch.setattr(f"{where}._running", lambda _options: [])


@pytest.mark.usefixtures("without_clusters")
def test_nodes_of_a_kind_cluster_are_known_before_it_runs(tmp_path: Path) -> None:
    """Catches: a cluster created for ``--collect-only``."""
    config = tmp_path / "kind.yaml"
    config.write_text("nodes: [{role: control-plane}, {role: worker}]")

    assert kind_nodes(KindOptions(name="k")) == (Node("k-control-plane"),)
    assert kind_nodes(KindOptions(name="k", config=config)) == (
        Node("k-control-plane"), Node("k-worker"),
    )  # fmt: skip
    config.write_text("nodes: 3")
    with pytest.raises(PreflightError, match="is not a kind configuration"):
        kind_nodes(KindOptions(name="k", config=config))


def row(node: str, outcome: Outcome, check: str = "OUT-001") -> tuple[Profile, Row]:
    variant = Variant("kind", "nft", 4, node) if node else Variant("netns", "nft", 4)
    reach = outcome is Outcome.NOT_RUN
    made = Row(check=check, variant=variant, outcome=outcome, probes=1, out_of_reach=reach)
    return Profile.CORE, made


def verdicts(*rows: tuple[Profile, Row]) -> dict[str, Verdict]:
    return {result.node: result.verdict for result in judge_nodes(rows, LENIENT)}


def test_each_node_has_its_own_verdict() -> None:
    """Catches: a failure on one kernel that fails every node, or that good nodes hide."""
    found = verdicts(row("a", Outcome.PASS), row("b", Outcome.FAIL), row("c", Outcome.ERROR))

    assert found == {
        "a": Verdict.CONFORMANT, "b": Verdict.NONCONFORMANT, "c": Verdict.INVALID,
    }  # fmt: skip
    assert worst_of(found.values()) is Verdict.INVALID


def test_check_on_one_node_does_not_count_for_another() -> None:
    """Catches: a check that ran on one kernel and counts for another."""
    found = verdicts(row("a", Outcome.PASS), row("a", Outcome.PASS, "OUT-002"),
                     row("b", Outcome.PASS), row("b", Outcome.NOT_RUN, "OUT-002"))  # fmt: skip

    assert found == {"a": Verdict.CONFORMANT, "b": Verdict.PARTIAL}


def test_network_namespaces_cover_checks_that_clusters_cannot_run() -> None:
    """Catches: a conformant ``netns,kind`` matrix in which no node is conformant."""
    netns = (row("", Outcome.PASS), row("", Outcome.PASS, "OUT-002"))
    node = (row("a", Outcome.PASS), row("a", Outcome.NOT_RUN, "OUT-002"))

    assert verdicts(*netns, *node) == {"a": Verdict.CONFORMANT}
