"""Parts of the Kubernetes backends that need no cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import requests

from pytest_fsmredir import Mesh, Probe, ProbeBy
from pytest_fsmredir.agent.forms import Report
from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive, template_libraries
from pytest_fsmredir.backends.kubernetes.agents.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.once import run_once
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object, _exit_status
from pytest_fsmredir.backends.kubernetes.mesh.planning import Orders, plan
from pytest_fsmredir.backends.kubernetes.pods import images
from pytest_fsmredir.backends.kubernetes.pods.causes import breakage
from pytest_fsmredir.backends.kubernetes.pods.kubelet import CASES, case_of
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.kubernetes.pods.records import init_record, pod_yaml
from pytest_fsmredir.backends.kubernetes.pods.states import PodStage, state_of
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import BackendError, PreflightError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Flow
from pytest_fsmredir.suite import catalogue

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"


def test_every_probed_application_is_made_early() -> None:
    checks = [check for check in catalogue.load().checks if check.id.startswith("KUBE-01")]
    wanted = [Wanted(check.function, 4, IptablesVariant.NFT) for check in checks]
    orders = plan(wanted, lambda _node: {}, timeout_s=1.0)
    assert {probed_pod.case for probed_pod in orders.probed_pods} == set(CASES)
    assert case_of(Probe.STARTUP, ProbeBy.HTTP, alive=True) in CASES


OFFERED = {
    Need.WORKLOADS, Need.WEBHOOK, Need.SIDECAR_CONTROL, Need.ANSWERING_SIDECAR,
    Need.REMOTE_ADDRESSES, Need.PRIVATE_ADDRESSES, Need.DEFAULT_CLUSTER_RANGES,
}  # fmt: skip


def test_pods_of_every_check_are_planned() -> None:
    """Catches: a check whose pods are made late, or whose socket options cannot reach a pod."""
    wanted = [
        Wanted(check.function, family, IptablesVariant.NFT)
        for check in catalogue.load().checks
        if check.needs <= OFFERED
        for family in check.families
    ]
    assert plan(wanted, lambda _node: {}, timeout_s=1.0).unplanned == {}


def test_planning_that_ends_early_is_visible() -> None:
    """Catches: an error in a check that only makes a run slower."""

    def test_of_three(mesh: Mesh) -> None:
        mesh.pod()
        raise ValueError("three")

    wanted = Wanted(test_of_three, 4, IptablesVariant.NFT)
    orders = plan([wanted], lambda _node: {}, timeout_s=1.0)
    assert orders.unplanned == {"test_of_three": "ValueError: three"}
    assert len(orders.shared) == 1


def test_agent_and_template_libraries_fit_into_a_config_map() -> None:
    """Catches: no rules file can be judged in a cluster, because its files are too large."""
    files = {"agent.pyz": agent_archive(), "libraries.zip": template_libraries()}
    assert sum(map(len, files.values())) < (1 << 20) - (1 << 15)  # the rules need room, too


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "agent.pyz"
    file.write_bytes(agent_archive())
    return file


def started(archive: Path) -> str:
    """Return the place that a module of the archive was loaded from."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import pytest_fsmredir.model as m; print(m)"
    argv = [sys.executable, "-I", "-S", "-c", code, str(archive)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_agent_starts_from_bytecode(archive: Path) -> None:
    assert "model/__init__.pyc" in started(archive)


def test_agent_starts_from_sources_in_another_python(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            foreign = b"\0\0\r\n" + content[4:] if name.endswith(".pyc") else content
            new.writestr(name, foreign)
    assert "model/__init__.py'" in started(other)


def orders_of(check_id: str, node: str = "") -> Orders:
    wanted = Wanted(catalogue.load()[check_id].function, 4, IptablesVariant.NFT, node)
    return plan([wanted], lambda _node: {}, timeout_s=1.0)


def test_every_workload_of_a_check_is_made_early() -> None:
    kinds = [template.kind for template in orders_of("KUBE-001").templates]
    assert kinds == ["Deployment", "StatefulSet", "DaemonSet", "Job"]


def settings_of(*check_ids: str) -> list[dict[str, str]]:
    wanted = [Wanted(catalogue.load()[each].function, 4, IptablesVariant.NFT) for each in check_ids]
    orders = plan(wanted, lambda _node: {}, timeout_s=1.0)
    return [dict(order.configuration.annotations) for order in orders]


def test_a_pod_that_must_be_refused_is_made_once() -> None:
    assert len(settings_of("KUBE-004")) == 4


def test_checks_with_the_same_settings_share_the_result() -> None:
    settings = settings_of("CFG-006", "CFG-007", "KUBE-004")
    assert settings.count({OUTBOUND_PORTS: "65536"}) == 1
    assert settings.count({OUTBOUND_PORTS: "80-90"}) == 1


def test_empty_lists_of_a_mesh_config_make_no_other_pod() -> None:
    empty = Configuration(traffic={"outboundPortExclusionList": []})
    plain = Order(Configuration(), IptablesVariant.NFT)
    assert Order(empty, IptablesVariant.NFT).key == plain.key


def test_pods_of_a_check_are_on_its_node() -> None:
    """Catches: a pod on another node than the one that the verdict is about."""
    for check_id in ("KUBE-001", "KUBE-010", "KUBE-005", "LIFE-001"):
        orders = orders_of(check_id, "n-1")
        assert {order.node for order in orders} <= {"n-1"}
        assert {probed_pod.order.node for probed_pod in orders.probed_pods} <= {"n-1"}
        assert {template.order.node for template in orders.templates} <= {"n-1"}


class Logs(Cluster):
    """A cluster that has the logs of some containers."""

    def __init__(self, text: str) -> None:
        self._text = text

    def log(self, namespace: str, pod: str, container: str, *, lines: int | None = 20) -> str:
        """Return the end of a log."""
        return f"{container}: {self._text}"


def test_application_that_ends_at_once_is_named() -> None:
    """Catches: "ended: app" for a user's own image, without the setting to change."""
    ended = {"name": "app", "state": {"terminated": {"exitCode": 0}}}
    state = state_of({"status": {"phase": "Succeeded", "containerStatuses": [ended]}}, 30.0)
    logs = Logs("usage: tool ARGUMENT")

    assert breakage(logs, "run-1", "pod-1", state, "tool:1") == (
        "the command of the application image tool:1 ends at once (pod pod-1 cannot come up: its"
        " container app ended with exit status 0); give --fsm-app-image an image whose own command"
        " runs on; the end of its log: app: usage: tool ARGUMENT"
    )
    assert breakage(logs, "run-1", "pod-1", state, "").startswith("pod pod-1 cannot come up: its ")


def test_missing_base_image_names_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches: an air-gapped user who gets no advice but to pull the image."""

    def is_missing(image: str) -> None:
        raise PreflightError(f"the image {image} is not here; get it: docker pull {image}")

    monkeypatch.setattr(images, "require_image", is_missing)
    with pytest.raises(PreflightError, match=r"FSM_IMAGE_BASE, .*--fsm-pod-image IMAGE"):
        images.pod_image("")


def test_container_that_did_not_start_is_not_a_refusal() -> None:
    """Catches: an implementation blamed because a node could not start its container."""
    ended = {"exitCode": 128, "reason": "StartError", "message": "runc create failed"}
    init = {"name": "fsm-init", "state": {"terminated": ended}}

    state = state_of({"status": {"phase": "Failed", "initContainerStatuses": [init]}}, 30.0)

    assert state.stage is PodStage.BROKEN
    assert state.reason == "fsm-init could not be started: StartError: runc create failed"


def test_connection_of_an_agent_has_all_that_a_connection_has() -> None:
    """Catches: an attribute that only connections of this process have, found on kind alone."""
    flow = Flow(Direction.OUTBOUND, Address("192.0.2.1", 80))
    connection = RemoteConnection(flow, cast("AgentLink", None), 0, tuple)
    connection.take(Report(lost="refused"))

    assert connection.fate == connection.fate_by_banner
    assert not connection.has_received(b"x").holds


def test_token_of_a_kubeconfig_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a user with a token, as of clouds, is anonymous to the API server."""
    named = {"name": "it", "context": {"cluster": "it", "user": "it"}}
    document = {
        "clusters": [{"name": "it", "cluster": {"server": "http://192.0.2.1"}}],
        "users": [{"name": "it", "user": {"token": "hush"}}],
        "contexts": [named],
        "current-context": "it",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(document))
    sent = []

    def request(*_: object, headers: dict[str, str], **__: object) -> None:
        sent.append(headers["Authorization"])
        raise requests.ConnectionError

    with closing(Cluster(file)) as cluster:
        monkeypatch.setattr("requests.Session.request", request)
        with pytest.raises(BackendError):
            cluster.get("/version")

    assert sent == ["Bearer hush"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{"status": "Success"}', 0),
        ('{"details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}', 3),
        ('{"status": "Failure", "message": "no such program"}', "it was not started: no such"),
        ("", "the stream: it was cut"),
    ],
)
def test_end_of_a_program_in_a_container(said: str, found: int | str) -> None:
    """Catches: a listing that was never made, or was cut, counts as an empty one."""
    if isinstance(found, int):
        assert _exit_status(said) == found
    else:
        with pytest.raises(BackendError, match=found):
            _exit_status(said)


class Ended(Cluster):
    """A cluster in which every ephemeral container has ended with an exit status."""

    def __init__(self, status: int) -> None:
        self._state = {"terminated": {"exitCode": status}}
        self._name = ""

    def patch(self, path: str, body: Object, *, by_key: bool = False) -> Object:
        """Take a container."""
        del path, by_key
        self._name = body["spec"]["ephemeralContainers"][0]["name"]
        return {}

    def get(self, path: str, **query: str) -> Object:
        """Return the pod."""
        del path, query
        return {
            "status": {"ephemeralContainerStatuses": [{"name": self._name, "state": self._state}]}
        }

    def log(self, namespace: str, pod: str, container: str, *, lines: int | None = 20) -> str:
        """Return the output."""
        del namespace, pod, container, lines
        return "sh: cannot fork\n"


def test_a_program_that_fails_in_an_ephemeral_container_is_an_error() -> None:
    """Catches: half a listing that is taken for the rules of a pod."""
    assert run_once(Ended(0), "demo", "web", "image", ["sh"]) == "sh: cannot fork\n"
    with pytest.raises(BackendError, match=r"sh in fsmredir-.* exited 2: sh: cannot fork"):
        run_once(Ended(2), "demo", "web", "image", ["sh"])


RECORDED: Object = {
    "metadata": {
        "name": "web",
        "annotations": {OUTBOUND_PORTS: "6379", "example.com/token": "hush"},
        "managedFields": [{"manager": "hush"}],
    },
    "spec": {
        "nodeName": "hush",
        "containers": [
            {
                "name": "app",
                "env": [
                    {"name": "PASSWORD", "value": "hush"},
                    {"name": "FSM_PROXY_UID", "value": "1500"},
                ],
            }
        ],
    },
    "status": {
        "hostIP": "hush",
        "initContainerStatuses": [
            {"name": "fsm-init", "state": {"terminated": {"exitCode": 3}}},
        ],
    },
}


def test_the_object_of_a_pod_is_kept_without_secrets_and_hosts() -> None:
    """Catches: evidence that cannot be attached to a public report of a bug."""
    text = pod_yaml(RECORDED)
    assert "hush" not in text
    assert "6379" in text
    assert "1500" in text


def test_the_record_of_the_implementation_has_its_exit_status_and_log() -> None:
    """Catches: a pod whose init container failed, without what it said."""
    text = init_record(Ended(0), "demo", RECORDED)
    assert text == "# init container fsm-init; exit status: 3\nsh: cannot fork\n"
    with pytest.raises(BackendError, match="has no init container"):
        init_record(Ended(0), "demo", {**RECORDED, "status": {}})
