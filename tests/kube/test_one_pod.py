"""Judge running pods by ``python -m pytest_fsmredir pod``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.manifests import agent_config_map
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.cluster.kind import (
    KindOptions,
    handle_of,
    image_in_nodes,
    kind_site,
)
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import MANAGED_BY, OURS
from pytest_fsmredir.backends.kubernetes.cluster.waiting import eventually
from pytest_fsmredir.backends.kubernetes.pods.images import pod_image
from pytest_fsmredir.backends.kubernetes.pods.injection import INJECTION, MONITORED_BY
from pytest_fsmredir.backends.kubernetes.pods.injectors import by_hand
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.capture_file import read_capture
from pytest_fsmredir.model.configuration import Configuration

pytestmark = pytest.mark.kube

FORWARDER = Path(__file__).with_name("forwarder.py").read_text()
ANNOTATIONS = {
    "flomesh.io/outbound-port-exclusion-list": "6379",
    "flomesh.io/inbound-port-exclusion-list": "7070",
    "flomesh.io/outbound-ip-range-exclusion-list": "203.0.113.0/24",
}
LIMIT_S = 300


@dataclass
class User:
    """A user who makes pods in a cluster and judges them.

    Attributes:
        cluster: The cluster of the pods.
        kubeconfig: Path of the kubeconfig.
        namespace: Namespace of the pods.
        image: Image of all containers.
    """

    cluster: Cluster
    kubeconfig: Path
    namespace: str
    image: str

    def injected(self, implementation: Implementation) -> str:
        """Make a pod with a foreign sidecar, injected by this package, and return its name."""
        command = ["python3", "-I", "-S", "-c", FORWARDER]
        sidecar = {"image": self.image, "imagePullPolicy": "IfNotPresent", "command": command}
        images = Images(pod=self.image, sidecar=sidecar)
        injection = by_hand(implementation)(self.cluster, images)
        pool = PodPool(
            self.cluster, self.namespace, images, injection,
            init_timeout_s=30.0, acceptance_log=AcceptanceLog(), timeout_s=5.0,
        )  # fmt: skip
        with closing(pool):
            site = pool.take(Order(Configuration(ANNOTATIONS), IptablesVariant.NFT))
            pool.watcher.wait([site])
            assert site.programming.accepted
            return site.name

    @property
    def spec(self) -> Object:
        """The spec of a pod that does nothing."""
        app = {"name": "app", "image": self.image, "command": ["sleep", "86400"]}
        return {
            "containers": [app], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        }  # fmt: skip

    def plain(self) -> None:
        """Make a pod ``plain`` without injection, and wait until it runs."""
        self.make(
            {"metadata": {"name": "plain"}, "spec": self.spec},
            lambda pod: pod["status"].get("phase") == "Running",
        )

    def make(self, pod: Object, is_there: Callable[[Object], bool]) -> None:
        """Make a pod, and wait until it meets a condition."""
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        self.cluster.create(pods, pod)
        eventually(
            lambda: is_there(self.cluster.get(f"{pods}/{pod['metadata']['name']}")), 60.0, "a pod"
        )

    def judge(self, name: str) -> tuple[int, list[str]]:
        """Return the exit status, and the lines that were printed."""
        return self.asks("pod", f"{self.namespace}/{name}")

    def asks(self, *words: str) -> tuple[int, list[str]]:
        """Run a command of this package; return its exit status and its lines."""
        argv = [sys.executable, "-m", "pytest_fsmredir", *words]
        where = ["--kubeconfig", str(self.kubeconfig), "--pod-image", self.image]
        done = subprocess.run(
            [*argv, *where], text=True, timeout=LIMIT_S, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines()

    def ended(self, name: str) -> bool:
        """Wait for the ephemeral containers of a pod to end; return whether there was just one."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"

        def states() -> list[Mapping[str, Any]]:
            status = self.cluster.get(path)["status"]
            return [each["state"] for each in status.get("ephemeralContainerStatuses", [])]

        Retrying(
            stop=stop_after_delay(30.0),
            wait=wait_fixed(0.2),
            retry=retry_if_result(lambda found: not all("terminated" in each for each in found)),
        )(states)
        return len(states()) == 1


@pytest.fixture
def user(kind: KindOptions) -> Iterator[User]:
    kubeconfig = Path(handle_of(kind).kubeconfig_path).absolute()
    with ExitStack() as undo:
        image_in_nodes(undo.enter_context(kind_site(kind)), pod_image(""))
        cluster = undo.enter_context(closing(Cluster(kubeconfig)))
        namespace = undo.enter_context(
            namespaces.namespace(cluster, keep=False, config_map=agent_config_map({}))
        )
        yield User(cluster, kubeconfig, namespace, pod_image(""))


def test_pod_whose_rules_are_right(user: User) -> None:
    """Catches: the command makes more pods, or leaves an agent or a namespace behind."""
    name = user.injected(Reference())

    status, lines = user.judge(name)

    assert (status, lines[-1].partition(" flows ")[2]) == (0, "judged: as documented"), lines
    assert lines[0].startswith(f"pod {user.namespace}/{name} on ")
    assert "injected; outboundIPRangeExclusionList 203.0.113.0/24" in lines[0]
    assert "outboundPortExclusionList 6379" in lines[0]
    assert any("addresses outside the cluster: 203.0.113.0, " in line for line in lines)
    assert user.ended(name)
    found = user.cluster.get("/api/v1/namespaces", labelSelector=f"{MANAGED_BY}={OURS}")
    names = {
        each["metadata"]["name"]
        for each in found["items"]
        if "deletionTimestamp" not in each["metadata"]
    }
    assert names == {user.namespace}


def test_rules_of_a_pod_are_proved(user: User) -> None:
    """Catches: rules of a running pod that are not read, or compared with another policy."""
    name = user.injected(Reference())

    status, lines = user.asks("rules", "check", "--pod", f"{user.namespace}/{name}")

    assert status == 0, lines
    assert "injected; outboundIPRangeExclusionList 203.0.113.0/24" in lines[0]
    assert lines[1].startswith("proved for every address, port and user (IPv4"), lines
    assert user.ended(name)


def test_pod_is_captured_into_a_file(user: User, tmp_path: Path) -> None:
    """Catches: a file without the lists, rules or addresses of the running pod."""
    name, file = user.injected(Reference()), tmp_path / "pod.yaml"

    status, lines = user.asks("capture", f"{user.namespace}/{name}", "-o", str(file))

    assert status == 0, lines
    found = read_capture(file)
    assert found.annotations == ANNOTATIONS
    assert "--dports 6379" in found.listings["iptables4 nft"]
    assert [each.name for each in found.interfaces] == ["eth0"]
    assert {15001, 15003} <= {each.port for each in found.listeners}
    assert user.ended(name)


def test_flows_are_sent_from_a_running_pod(user: User) -> None:
    """Catches: a flow of another user or pod, or one that is judged by the rules alone."""
    name, api = user.injected(Reference()), "10.96.0.1:443"
    pod = f"{user.namespace}/{name}"
    found = user.cluster.get(f"/api/v1/namespaces/{user.namespace}/pods/{name}")
    node = found["status"]["hostIP"]

    status, lines = user.asks("flow", pod, "--out", api)
    assert (status, lines[2]) == (0, "expected     captured outbound"), lines
    assert lines[3].startswith("seen         accepted by the sidecar's outbound listener"), lines
    assert "→ 15001" in lines[4]

    status, lines = user.asks("flow", pod, "--out", api, "--uid", "1500")
    assert (status, lines[2]) == (0, "expected     direct"), lines
    assert lines[3].startswith("seen         accepted by the destination itself"), lines

    status, lines = user.asks("flow", pod, "--out", f"{node}:6379")
    assert (status, lines[2]) == (0, "expected     direct"), lines
    assert lines[3] == "seen         refused; its packets went there unchanged"


def test_flow_that_no_rule_takes_is_explained(user: User) -> None:
    """Catches: the exit status blames nobody for a pod without rules."""
    pod = f"{user.namespace}/{user.injected(InitCommand('true'))}"

    status, lines = user.asks("flow", pod, "--out", "10.96.0.1:443")

    assert status == 1, lines
    assert lines[3].startswith("seen         accepted by the destination itself")
    assert lines[5].startswith("why          no rule of any table redirects")


def test_rules_of_a_pod_that_may_not_be_read(user: User) -> None:
    """Catches: a pod that takes no container with NET_ADMIN counts as one with wrong rules."""
    user.plain()
    level = {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}
    user.cluster.patch(f"/api/v1/namespaces/{user.namespace}", {"metadata": level})

    status, lines = user.asks("rules", "show", "--pod", f"{user.namespace}/plain")

    assert status == 2
    assert "takes no ephemeral container" in lines[0]
    assert "allows the capabilities NET_ADMIN, NET_RAW" in lines[0]

    status, lines = user.asks("flow", f"{user.namespace}/plain", "--out", "10.96.0.1:443")
    assert status == 0, lines
    assert lines[4].startswith("path         the rules could not be read"), lines


def test_pod_without_rules(user: User) -> None:
    """Catches: a pod that looks injected but captures no traffic passes."""
    status, lines = user.judge(user.injected(InitCommand("true")))

    assert status == 1, lines
    assert " flows differ" in lines[-1]
    seen = {line.split("  ")[-1].strip() for line in lines if "  captured " in line}
    assert "accepted by the destination itself" in seen
    assert "the same" not in seen


def test_pod_that_is_not_injected(user: User) -> None:
    """Catches: a plain pod fails for not capturing, or counts as conformant."""
    user.plain()

    status, lines = user.judge("plain")

    assert "not injected (it has no container sidecar or fsm-init" in lines[0]
    assert (status, lines[-1].partition(" flows ")[2]) == (0, "judged: as documented"), lines


def test_pod_that_its_mesh_did_not_inject(user: User) -> None:
    """Catches: a pod made before its namespace joined the mesh gets exit status 0."""
    user.plain()
    marks = {"labels": {MONITORED_BY: "no-such-mesh"}, "annotations": {INJECTION: "enabled"}}
    user.cluster.patch(f"/api/v1/namespaces/{user.namespace}", {"metadata": marks})

    status, lines = user.judge("plain")

    assert status == 1, lines
    assert "NOT injected, although its namespace is in the mesh" in lines[0]
    assert " flows differ" in lines[-2]
    assert lines[-1].startswith("a mesh injects a pod when the pod is made")


def test_pod_that_died_in_init_says_why(user: User) -> None:
    """Catches: the reason is "Pending" although the init container's log says what is wrong."""
    script = "echo too many ports specified >&2; exit 2"
    init = {"name": "fsm-init", "image": user.image, "command": ["sh", "-c", script]}
    user.make(
        {"metadata": {"name": "dead"}, "spec": {**user.spec, "initContainers": [init]}},
        lambda pod: pod["status"].get("phase") == "Failed",
    )

    status, lines = user.judge("dead")

    assert status == 2
    assert lines == [
        f"not judged: pod {user.namespace}/dead does not run: the init container"
        " exited 2: too many ports specified"
    ]


def test_pod_that_does_not_exist(user: User) -> None:
    """Catches: a typo in the pod's name counts as a pod with wrong rules."""
    status, lines = user.judge("no-such-pod")

    assert status == 2
    assert lines == [f"not judged: there is no pod no-such-pod in the namespace {user.namespace}"]
