"""Use the reference mesh in a cluster by the commands of FSM's documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions
from pytest_fsmredir.errors import CommandError, PreflightError
from pytest_fsmredir.reference_mesh.install import install, remove
from pytest_fsmredir.reference_mesh.lists import lists_of

pytestmark = pytest.mark.kube

WITHIN_S = 90.0
MESH_CONFIG = "/apis/config.flomesh.io/v1alpha3/namespaces/fsm-system/meshconfigs/fsm-mesh-config"
PATCH = ("patch", "meshconfig", "fsm-mesh-config", "-n", "fsm-system")
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

CAPTURED = """
import os, socket, sys
flow = socket.create_connection((os.environ["KUBERNETES_SERVICE_HOST"], 443), timeout=10)
host, port = flow.getsockname()
tail = "%02X%02X%02X%02X:%04X 01" % (*reversed(socket.inet_aton(host)), port)
print("0100007F:3A99 " + tail in open("/proc/net/tcp").read())
"""
"""Prints whether the sidecar has accepted an outbound flow, by the pod's socket table."""

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def kubectl(kind: KindOptions, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Runs kubectl on the session's cluster."""
    kubeconfig = tmp_path_factory.mktemp("kube") / "config"
    argv = [kind.kind or "kind", "get", "kubeconfig", "--name", kind.name]
    kubeconfig.write_text(procs.run(argv, timeout_s=WITHIN_S))

    def run(*arguments: str, stdin: str = "") -> str:
        start = [kind.kubectl or "kubectl", "--kubeconfig", str(kubeconfig)]
        return procs.run([*start, *arguments], stdin=stdin, timeout_s=WITHIN_S)

    return run


@pytest.fixture
def namespace(reference_mesh: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """A namespace in the mesh, added by the commands of a user."""
    with namespaces.namespace(reference_mesh, keep=False) as name:
        kubectl("label", "namespace", name, "flomesh.io/monitored-by=fsm")
        kubectl("annotate", "namespace", name, "flomesh.io/sidecar-injection=enabled")
        yield name


@pytest.fixture
def pod_image(mesh_image_ref: str) -> str:
    """An image that contains Python."""
    return mesh_image_ref


@contextmanager
def lists_kept(cluster: Cluster) -> Iterator[None]:
    """Empty the mesh's lists after the block."""
    try:
        yield
    finally:
        traffic = cluster.get(MESH_CONFIG)["spec"]["traffic"]
        empty: dict[str, list[object]] = {
            key: [] for key, value in traffic.items() if isinstance(value, list)
        }
        cluster.patch(MESH_CONFIG, {"spec": {"traffic": empty}})


def pod(
    name: str,
    image: str,
    annotations: dict[str, str] | None = None,
    app: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Return a pod as JSON for kubectl, with further fields for its container."""
    container = {"name": "app", "image": image, "command": ["sleep", "inf"], **app}
    metadata = {"name": name, "annotations": annotations or {}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def eventually(look: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    Retrying(
        stop=stop_after_delay(WITHIN_S),
        wait=wait_fixed(0.3),
        retry=retry_if_result(lambda seen: not seen),
        retry_error_callback=lambda _: pytest.fail(f"waited {WITHIN_S:.0f} s for {what}"),
    )(look)


def statuses(cluster: Cluster, namespace: str, name: str) -> dict[str, dict[str, Any]]:
    found = cluster.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]
    return {each["name"]: each for each in found.get("containerStatuses", [])}


def await_running(cluster: Cluster, namespace: str, *names: str) -> None:
    def all_run() -> bool:
        seen = [statuses(cluster, namespace, name) for name in names]
        return all(each and all("running" in c["state"] for c in each.values()) for each in seen)

    eventually(all_run, f"{names} to run")


def captured(kubectl: Kubectl, namespace: str, name: str) -> bool:
    argv = ["exec", "-n", namespace, name, "-c", "app", "--", "python3", "-c", CAPTURED]
    return kubectl(*argv).strip() == "True"


def test_install_again_keeps_the_lists(reference_mesh: Cluster, mesh_image_ref: str) -> None:
    """Catches: an upgrade resets the configured lists, or changes nothing."""
    with lists_kept(reference_mesh):
        for setting in (
            ["fsm.outboundPortExclusionList={6379,7070}"],
            ['fsm.outboundIPRangeExclusionList="[1.1.1.1/32,2.2.2.2/24]"'],
            [],
        ):
            install(reference_mesh, mesh_image_ref, lists_of(setting), lambda _: None)
        traffic = reference_mesh.get(MESH_CONFIG)["spec"]["traffic"]

    assert traffic["outboundPortExclusionList"] == [6379, 7070]
    assert traffic["outboundIPRangeExclusionList"] == ["1.1.1.1/32", "2.2.2.2/24"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outboundIPRangeExclusionList", '["1.1.1.1/32", "2.2.2.2/24"]'),
        ("outboundIPRangeInclusionList", '["1.1.1.1/32", "2.2.2.2/24"]'),
        ("outboundPortExclusionList", "[6379, 7070]"),
        ("inboundPortExclusionList", "[6379, 7070]"),
    ],
)
def test_documented_patch_works_as_it_stands(
    reference_mesh: Cluster, kubectl: Kubectl, key: str, value: str
) -> None:
    """Catches: the MeshConfig has another structure than FSM's."""
    with lists_kept(reference_mesh):
        said = kubectl(
            *PATCH,
            "-p",
            f'{{"spec":{{"traffic":{{"{key}":{value}}}}}}}',
            "--type=merge",
        )
        shown = kubectl("get", "meshconfig", "-A")
        found = reference_mesh.get(MESH_CONFIG)["spec"]["traffic"][key]

    assert "patched" in said
    assert found == json.loads(value)
    assert value.replace(" ", "") in shown


@pytest.mark.parametrize("value", ["[0]", "[70000]", '["http"]'])
def test_mesh_config_refuses_an_invalid_port(kubectl: Kubectl, value: str) -> None:
    """Catches: one bad entry makes all pods of the mesh fail."""
    patch = f'{{"spec":{{"traffic":{{"inboundPortExclusionList":{value}}}}}}}'

    with pytest.raises(CommandError, match="inboundPortExclusionList"):
        kubectl(*PATCH, "--type=merge", "-p", patch)


def test_refusal_reaches_the_user(kubectl: Kubectl, namespace: str, pod_image: str) -> None:
    """Catches: only the webhook's log contains the reason of a refusal."""
    bad = pod("bad", pod_image, {"flomesh.io/outbound-port-exclusion-list": "0"})

    with pytest.raises(CommandError) as caught:
        kubectl("apply", "-n", namespace, "-f", "-", stdin=bad)
    assert (
        "admission webhook \"fsm-inject.k8s.io\" denied the request: Invalid port value '0'"
        " specified for annotation 'flomesh.io/outbound-port-exclusion-list'"
    ) in caught.value.stderr


def test_lists_count_for_new_pods_only(
    reference_mesh: Cluster, kubectl: Kubectl, namespace: str, pod_image: str
) -> None:
    """Catches: a patch or an annotation changes a running pod, or does not reach a new one."""
    key = "flomesh.io/outbound-port-exclusion-list"
    with lists_kept(reference_mesh):
        for each in (pod("before", pod_image), pod("noted", pod_image, {key: "443"})):
            kubectl("apply", "-n", namespace, "-f", "-", stdin=each)
        patch = '{"spec":{"traffic":{"outboundPortExclusionList":[443]}}}'
        await_running(reference_mesh, namespace, "before", "noted")
        kubectl(*PATCH, "--type=merge", "-p", patch)
        kubectl("annotate", "-n", namespace, "pod", "before", f"{key}=443")
        kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("after", pod_image))
        await_running(reference_mesh, namespace, "after")
        seen = {name: captured(kubectl, namespace, name) for name in ("before", "noted", "after")}

    assert seen == {"before": True, "noted": False, "after": False}


def test_kubelet_probes_distinguish_live_from_dead(
    reference_mesh: Cluster, kubectl: Kubectl, namespace: str, pod_image: str
) -> None:
    """Catches: a dead application counts as ready, or a live one does not."""
    serving = {"command": ["python3", "-m", "http.server", "8080"]}
    http = {"httpGet": {"port": 8080, "path": "/?ready"}, "periodSeconds": 1}
    https = {"httpGet": {"port": 8080, "scheme": "HTTPS"}, "periodSeconds": 1}
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    # On a busy machine the application takes long to start and to answer.
    patient = {"timeoutSeconds": 30, "failureThreshold": 60}
    all_three = {
        "readinessProbe": http,
        "livenessProbe": https | patient,
        "startupProbe": tcp | patient,
    }
    pods = [
        pod("live", pod_image, app={**serving, **all_three}),
        pod("dead-http", pod_image, app={"readinessProbe": http}),
        pod("dead-https", pod_image, app={"readinessProbe": https}),
        pod("dead-tcp", pod_image, app={"readinessProbe": tcp}),
    ]
    for each in pods:
        kubectl("apply", "-n", namespace, "-f", "-", stdin=each)

    def ready(name: str) -> bool:
        app = statuses(reference_mesh, namespace, name).get("app")
        return bool(app and app["ready"] and app["restartCount"] == 0)

    def failed(name: str) -> bool:
        events = kubectl("get", "events", "-n", namespace, "-o", "json")
        return any(
            event["reason"] == "Unhealthy" and event["involvedObject"]["name"] == name
            for event in json.loads(events)["items"]
        )

    eventually(lambda: ready("live"), "the live application to be ready")
    for name in ("dead-http", "dead-https", "dead-tcp"):
        eventually(lambda name=name: failed(name), f"a probe of {name} to fail")  # type: ignore[misc]
        assert not statuses(reference_mesh, namespace, name)["app"]["ready"]


def test_only_pods_of_the_mesh_are_injected(
    reference_mesh: Cluster, namespace: str, pod_image: str
) -> None:
    """Catches: a host-network pod, an opted-out pod or one outside the mesh is injected."""

    def inits(where: str, body: str, **spec: object) -> list[str]:
        asked = json.loads(body)
        asked["spec"] |= spec
        path = f"/api/v1/namespaces/{where}/pods?dryRun=All"
        made = reference_mesh.create(path, asked)
        return [each["name"] for each in made["spec"].get("initContainers", ())]

    out = pod("out", pod_image, {"flomesh.io/sidecar-injection": "no"})

    assert inits(namespace, pod("in", pod_image)) == ["fsm-init"]
    assert inits(namespace, out) == []
    assert inits(namespace, pod("node", pod_image), hostNetwork=True) == []
    assert inits("default", pod("elsewhere", pod_image)) == []
    with pytest.raises(ApiError, match=r'key "flomesh\.io/sidecar-injection": maybe'):
        inits(namespace, pod("bad", pod_image, {"flomesh.io/sidecar-injection": "maybe"}))


def test_foreign_mesh_is_left_alone(reference_mesh: Cluster, mesh_image_ref: str) -> None:
    """Catches: the install overwrites the webhook of an installed FSM."""
    theirs = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "fsm-webhook-theirs"},
        "webhooks": [
            {
                "name": "fsm-inject.k8s.io",
                "clientConfig": {"url": "https://127.0.0.1/"},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    reference_mesh.create(WEBHOOKS, theirs)
    try:
        with pytest.raises(PreflightError, match="fsm-webhook-theirs; nothing was changed"):
            install(reference_mesh, mesh_image_ref, {}, lambda _: None)
        with pytest.raises(PreflightError, match="fsm-webhook-theirs"):
            remove(reference_mesh, lambda _: None)
    finally:
        reference_mesh.delete(f"{WEBHOOKS}/fsm-webhook-theirs")


def test_remove_leaves_nothing(reference_mesh: Cluster, mesh_image_ref: str) -> None:
    """Catches: a webhook without a server stays registered, so no pod can be made."""
    said: list[str] = []
    try:
        remove(reference_mesh, said.append)
        webhooks = [each["metadata"]["name"] for each in reference_mesh.get(WEBHOOKS)["items"]]
        crds = [each["metadata"]["name"] for each in reference_mesh.get(CRDS)["items"]]
        names = [n["metadata"]["name"] for n in reference_mesh.get("/api/v1/namespaces")["items"]]
        remove(reference_mesh, said.append)
    finally:
        install(reference_mesh, mesh_image_ref, {}, lambda _: None)

    assert said[0] == "MutatingWebhookConfiguration fsm-webhook-fsm: removed"
    assert not [name for name in webhooks if "fsm" in name]
    assert not [name for name in crds if "flomesh" in name]
    assert "fsm-system" not in names


def test_command_reports_what_is_missing(
    kind: KindOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: the user gets a stack trace."""
    from pytest_fsmredir.__main__ import main

    assert main(["mesh", "install", "--set", "fsm.nonsense={1}"]) == 2
    assert main(["mesh", "install"]) == 1
    assert main(["mesh", "remove", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert main(["mesh", "install", "--kind-cluster", "no-such-cluster"]) == 1
    errors = capsys.readouterr().err

    assert "fsm.nonsense: no such setting" in errors
    assert "mesh install --image IMAGE" in errors
    assert "no cluster can be reached" in errors
    assert "no kind cluster 'no-such-cluster' runs on this machine" in errors
