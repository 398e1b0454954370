"""Each check of Kubernetes fails for a mutant and passes for correct implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import pytest

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.cluster.nodes import nodes_of
from pytest_fsmredir.backends.kubernetes.pods import kubelet
from pytest_fsmredir.backends.kubernetes.pods.injection import HEALTH_NAME
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject, Manual, by_hand
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images, init_program
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.outcomes import Outcome
from tests.kube.conftest import Judge

pytestmark = pytest.mark.kube

CAPTURE = (
    "KUBE-001", "KUBE-002", "KUBE-005", "KUBE-006", "KUBE-007", "KUBE-020", "KUBE-021",
    "KUBE-022", "KUBE-023",
)  # fmt: skip
PROBES = ("KUBE-010", "KUBE-011", "KUBE-012", "KUBE-013", "KUBE-014")

Mistake = Callable[[Manual, Object, Order], Object]
"""Takes the correct injection, a plain pod and its order; returns a wrongly injected pod."""


class Mistaken(Manual):
    """Injects the reference with a mistake."""

    def __init__(self, mistake: Mistake, _: Cluster, images: Images) -> None:
        super().__init__(images, init_program(Reference()))
        self._mistake = mistake

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the wrongly injected pod."""
        return self._mistake(Manual(self._images, self._program), pod, order)


def forgets_workloads(right: Manual, pod: Object, order: Order) -> Object:
    """Leave out the pods of controllers."""
    made = right.injected(pod, order)
    if not pod["metadata"]["name"].startswith("pod-"):
        del made["spec"]["initContainers"]
    return made


def programs_late(right: Manual, pod: Object, order: Order) -> Object:
    """Run the init container as a regular container, in parallel to the application."""
    made = right.injected(pod, order)
    late = made["spec"].pop("initContainers")
    late[0]["command"] = [*late[0]["command"][:2], f"sleep 3; {late[0]['command'][2]}",
                          *late[0]["command"][3:]]  # fmt: skip
    made["spec"]["containers"] += late
    return made


def leaves_probes(right: Manual, pod: Object, order: Order) -> Object:
    """Do not rewrite probes, so that the kubelet dials the application."""
    made = right.injected(pod, order)
    own = {each["name"]: each for each in pod["spec"]["containers"]}
    kept = [own.get(each["name"], each) for each in made["spec"]["containers"]]
    made["spec"]["containers"] = [each for each in kept if each["name"] != HEALTH_NAME]
    return made


def forgets_health(right: Manual, pod: Object, order: Order) -> Object:
    """Leave out the health responder, which answers HTTPS and TCP probes."""
    made = right.injected(pod, order)
    spec = made["spec"]
    spec["containers"] = [each for each in spec["containers"] if each["name"] != HEALTH_NAME]
    return made


def ignores_annotations(right: Manual, pod: Object, order: Order) -> Object:
    """Ignore the lists in the annotations of the pod."""
    plain = {**pod, "metadata": {**pod["metadata"], "annotations": {}}}
    return right.injected(plain, order)


def ignores_mesh_config(right: Manual, pod: Object, order: Order) -> Object:
    """Ignore the lists of the MeshConfig."""
    own = Configuration(order.configuration.annotations)
    return right.injected(pod, replace(order, configuration=own))


class Granted(Manual):
    """Injects the reference, and also offers the needs of webhook checks."""

    granted = frozenset({Need.WEBHOOK})

    def __init__(self, _: Cluster, images: Images) -> None:
        super().__init__(images, init_program(Reference()))


class Installed(Granted):
    """Injects the reference into pods of a mesh that has lists installed."""

    installed = MappingProxyType(
        {
            "outboundPortExclusionList": [6379],
            "inboundPortExclusionList": [7070],
            "outboundIPRangeExclusionList": ["203.0.113.0/24"],
        }
    )


class InstalledIgnored(Installed):
    """Ignores the installed lists of the mesh."""

    def injected(self, pod: Object, order: Order) -> Object:
        """Return a pod that is injected without the installed lists."""
        return super().injected(pod, replace(order, configuration=Configuration()))


class InstalledEverything(Installed):
    """Injects the reference into pods of a mesh whose lists exempt all traffic."""

    installed = MappingProxyType({"networkInterfaceExclusionList": ["eth0"]})


class InstalledNonsense(Installed):
    """Accepts an invalid installed list."""

    installed = MappingProxyType({"outboundPortExclusionList": [0]})

    def injected(self, pod: Object, order: Order) -> Object:
        """Return a pod that is injected without the installed lists."""
        return super().injected(pod, replace(order, configuration=Configuration()))


class OnNodes(Granted):
    """Sets the rules on the nodes instead of in the pods."""

    def __init__(self, cluster: Cluster, images: Images) -> None:
        super().__init__(cluster, images)
        self._nodes = [each.name for each in nodes_of(cluster)]

    def begin(self, namespace: str) -> None:
        """Capture the nodes' traffic to port 8080."""
        del namespace
        self._rule("-I")

    def end(self) -> None:
        """Remove the rule from the nodes."""
        self._rule("-D")

    def _rule(self, action: str) -> None:
        rule = ["OUTPUT", "-p", "tcp", "--dport", "8080", "-j", "REDIRECT", "--to-ports", "15001"]
        for node in self._nodes:
            procs.run(["docker", "exec", node, "iptables", "-t", "nat", action, *rule])


def by_command(then: str, *, after: str = "&&") -> Inject:
    """Run the reference and a further command in the init container."""
    first = " ".join(init_program(Reference()).command)
    return by_hand(InitCommand(f"{first} {after} {then}"))


MUTANTS: dict[str, tuple[Inject, tuple[str, ...]]] = {
    "never-programmed": (by_hand(InitCommand("true")), CAPTURE),
    "workloads-forgotten": (partial(Mistaken, forgets_workloads), ("KUBE-001",)),
    "programmed-late": (partial(Mistaken, programs_late), ("KUBE-002",)),
    "nodes-programmed": (OnNodes, ("KUBE-003",)),
    "failure-swallowed": (by_command("true", after="||"), ("KUBE-004",)),
    "services-excluded": (
        by_command("iptables -t nat -I OUTPUT -d 10.112.0.0/16 -j ACCEPT"),
        ("KUBE-005", "KUBE-006"),
    ),
    "names-captured": (
        by_command("iptables -t nat -I OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15001"),
        ("KUBE-007",),
    ),
    "probes-left": (partial(Mistaken, leaves_probes), PROBES),
    "health-forgotten": (partial(Mistaken, forgets_health), ("KUBE-011", "KUBE-012")),
    "mesh-config-ignored": (partial(Mistaken, ignores_mesh_config), ("KUBE-020", "KUBE-021")),
    "installed-lists-ignored": (InstalledIgnored, ("KUBE-030",)),
    "installed-lists-exempt-all": (InstalledEverything, ("KUBE-030",)),
    "installed-nonsense-accepted": (InstalledNonsense, ("KUBE-030",)),
    "annotations-ignored": (partial(Mistaken, ignores_annotations), ("KUBE-022",)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(judge: Judge, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Probes of a live application never pass here, so do not wait for them long. Each has failed
    # once by then.
    monkeypatch.setattr(kubelet, "PROBED_S", 6.0)
    monkeypatch.setattr(kubelet, "ENOUGH", 1)
    inject, ids = MUTANTS[name]

    rows = judge.rows_of(inject, *ids)

    bad = {Outcome.FAIL, Outcome.WARN}  # KUBE-006 is a SHOULD
    assert {check: row for check, row in rows.items() if row.outcome not in bad} == {}


def test_reference_passes(judge: Judge) -> None:
    ids = sorted({check for _, killed in MUTANTS.values() for check in killed})

    rows = judge.rows_of(Granted, *ids)

    assert {check: row for check, row in rows.items() if row.outcome is not Outcome.PASS} == {}


def test_followed_installed_lists_pass(judge: Judge) -> None:
    """Catches: a mesh that follows its installed lists fails."""
    assert judge.rows_of(Installed, "KUBE-030")["KUBE-030"].outcome is Outcome.PASS
