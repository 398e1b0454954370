"""The reference mesh's webhook: it answers an AdmissionReview with a patch, over HTTP."""

from __future__ import annotations

import copy
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from pytest_fsmredir.reference_mesh.webhook import PATH, WebhookServer

ENABLED = {"flomesh.io/sidecar-injection": "enabled"}


class Cluster:
    """The API objects that the webhook reads."""

    def __init__(self) -> None:
        self.annotations: dict[str, str] = dict(ENABLED)
        self.spec: dict[str, Any] = {"traffic": {"outboundPortExclusionList": [80]}}
        self.down = False

    def namespace(self, name: str) -> dict[str, Any]:
        if self.down:
            raise TimeoutError("timed out")
        return {"metadata": {"name": name, "annotations": self.annotations}}

    def mesh_config(self, namespace: str, name: str) -> dict[str, Any]:
        return {
            "kind": "MeshConfig",
            "metadata": {"name": name, "namespace": namespace},
            "spec": self.spec,
        }


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def webhook(cluster: Cluster) -> Iterator[WebhookServer]:
    with WebhookServer(("127.0.0.1", 0), cluster, "mesh:1") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def pod(annotations: dict[str, str] | None = None, **spec: object) -> dict[str, Any]:
    containers = [{"name": "app", "image": "app:1"}]
    metadata = {"name": "web", **({"annotations": annotations} if annotations else {})}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def post(webhook: WebhookServer, body: object, path: str = PATH) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", int(webhook.server_address[1]), timeout=5)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def asked(given: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    request = {"uid": "u-1", "namespace": namespace, "object": given}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def reviewed(
    webhook: WebhookServer, given: dict[str, Any], namespace: str = "shop"
) -> dict[str, Any]:
    status, text = post(webhook, asked(given, namespace), f"{PATH}?timeout=20s")
    assert status == 200, text
    response: dict[str, Any] = json.loads(text)["response"]
    assert response["uid"] == "u-1"
    return response


def patched(given: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Apply a patch of the webhook, with the operations that the webhook uses."""
    made = copy.deepcopy(given)
    for step in json.loads(b64decode(response["patch"])):
        _, part, key = step["path"].split("/")
        assert (step["op"] == "replace") == (key in made[part])
        made[part][key] = step["value"]
    return made


def test_pod_is_injected(webhook: WebhookServer) -> None:
    """Catches: a patch that does not apply, or a pod that differs from FSM's."""
    given = pod({"flomesh.io/outbound-port-exclusion-list": "6379"}, initContainers=[{"name": "x"}])
    response = reviewed(webhook, given)
    made = patched(given, response)
    init = made["spec"]["initContainers"][-1]
    env = {each["name"]: each.get("value") for each in init["env"]}

    assert response["allowed"]
    assert [each["name"] for each in made["spec"]["containers"]] == ["sidecar", "app"]
    assert [each["name"] for each in made["spec"]["initContainers"]] == ["x", "fsm-init"]
    assert {each["image"] for each in (init, made["spec"]["containers"][0])} == {"mesh:1"}
    assert env["FSM_OUTBOUND_PORT_EXCLUSION_LIST"] == "80,6379"


def test_mesh_config_is_read_for_each_request(webhook: WebhookServer, cluster: Cluster) -> None:
    """Catches: a changed list that has no effect until the webhook restarts."""
    reviewed(webhook, pod())
    cluster.spec = {"sidecar": {"holdApplicationUntilProxyStarts": False}}
    made = patched(pod(), reviewed(webhook, pod()))
    env = {each["name"]: each.get("value") for each in made["spec"]["initContainers"][0]["env"]}

    assert env["FSM_OUTBOUND_PORT_EXCLUSION_LIST"] == ""
    assert [each["name"] for each in made["spec"]["containers"]] == ["app", "sidecar"]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("outbound-port-exclusion-list", "0", "Invalid port value '0'"),
        ("inbound-port-exclusion-list", "80, 70000", "Invalid port value '70000'"),
        ("inbound-port-exclusion-list", "", "Invalid port value ''"),
        ("outbound-port-exclusion-list", "80-90", "Invalid port value '80-90'"),
        ("outbound-ip-range-exclusion-list", "10.0.0.1", "Invalid IP range '10.0.0.1'"),
        ("outbound-ip-range-inclusion-list", "10.0.0.0/33", "Invalid IP range '10.0.0.0/33'"),
    ],
)
def test_bad_list_is_refused_with_the_injectors_message(
    webhook: WebhookServer, key: str, value: str, told: str
) -> None:
    """Catches: a pod that runs with a list that cannot be honoured."""
    response = reviewed(webhook, pod({f"flomesh.io/{key}": value}))

    assert not response["allowed"]
    message = f"{told} specified for annotation 'flomesh.io/{key}'"
    assert response["status"]["message"] == message


def test_bad_injection_annotation_is_refused(webhook: WebhookServer) -> None:
    """Catches: a typo that silently leaves a pod out of the mesh."""
    response = reviewed(webhook, pod({"flomesh.io/sidecar-injection": "maybe"}))

    assert not response["allowed"]
    told = 'invalid annotation value for key "flomesh.io/sidecar-injection": maybe'
    assert response["status"]["message"] == told


@pytest.mark.parametrize(
    ("given", "namespace", "annotations"),
    [
        (pod(hostNetwork=True), "shop", ENABLED),
        (pod({"flomesh.io/sidecar-injection": "disabled"}), "shop", ENABLED),
        (pod(), "shop", {}),
        (pod(ENABLED), "kube-system", ENABLED),
        (pod(ENABLED), "fsm-system", ENABLED),
        (pod(containers=[{"name": "sidecar"}, {"name": "app"}]), "shop", ENABLED),
    ],
)
def test_pod_is_not_changed(
    webhook: WebhookServer,
    cluster: Cluster,
    given: dict[str, Any],
    namespace: str,
    annotations: dict[str, str],
) -> None:
    """Catches: a patch for a host-network pod, a system pod or a pod that is already injected."""
    cluster.annotations = annotations
    response = reviewed(webhook, given, namespace)

    assert response == {"uid": "u-1", "allowed": True}


def test_webhook_reports_its_own_errors(webhook: WebhookServer, cluster: Cluster) -> None:
    """Catches: an error of the webhook that looks like a refusal, or that stops the webhook."""
    assert post(webhook, ["no review"])[0] == 400
    assert post(webhook, asked(pod()), "/elsewhere")[0] == 404
    cluster.down = True
    assert post(webhook, asked(pod())) == (500, "the API server: timed out")
    cluster.down = False
    assert reviewed(webhook, pod())["allowed"]
