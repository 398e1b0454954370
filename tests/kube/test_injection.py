"""The injection of a Pod by this package; needs no cluster."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_fsmredir.backends.kubernetes.pods.injection import (
    BadAnnotation,
    Parts,
    injected,
    wants_injection,
)
from pytest_fsmredir.model.policy import ListName

PARTS = Parts(
    init={"image": "init:1"},
    sidecar={"image": "sidecar:1"},
    health={"image": "health:1"},
    hold_hook=("wait-pipy",),
)


def mesh_config(**traffic: list[object]) -> dict[str, Any]:
    """Return a MeshConfig with these lists."""
    metadata = {"name": "fsm-mesh-config", "managedFields": [{"manager": "kubectl"}]}
    return {"kind": "MeshConfig", "metadata": metadata, "spec": {"traffic": traffic}}


MESH = mesh_config()


def pod(**container: object) -> dict[str, Any]:
    """Return a Pod whose one container has these further fields."""
    app = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"name": "web", "annotations": {}},
        "spec": {"initContainers": [{"name": "own"}], "containers": [{**app, **container}]},
    }


def probe_of(made: dict[str, Any], kind: str) -> dict[str, Any]:
    app = next(each for each in made["spec"]["containers"] if each["name"] == "app")
    return dict(app[kind]["httpGet"])


def mounted(made: dict[str, Any]) -> dict[str, str]:
    """Return the files in the init container's only volume, by path."""
    (volume,) = made["spec"]["volumes"]
    (mount,) = made["spec"]["initContainers"][-1]["volumeMounts"]
    assert mount["name"] == volume["name"]
    paths = {each["path"]: each["fieldRef"]["fieldPath"] for each in volume["downwardAPI"]["items"]}
    annotations = made["metadata"]["annotations"]
    return {file: annotations[path.split("'")[1]] for file, path in paths.items()}


def test_sidecar_comes_first_and_init_container_last() -> None:
    """Catches: the application starts before its sidecar, or its init containers are captured."""
    made = injected(pod(), MESH, PARTS)

    assert [each["name"] for each in made["spec"]["containers"]] == ["sidecar", "app"]
    assert [each["name"] for each in made["spec"]["initContainers"]] == ["own", "fsm-init"]


def test_injection_does_not_change_its_input() -> None:
    """Catches: a second injection of a template finds the containers of the first."""
    given = pod(readinessProbe={"tcpSocket": {"port": 8080}})
    before = copy.deepcopy(given)
    injected(given, MESH, PARTS)

    assert given == before


def test_users_and_capabilities() -> None:
    """Catches: the sidecar does not run as UID 1500, or the init container lacks NET_ADMIN."""
    made = injected(pod(), MESH, PARTS)
    (init,) = [each for each in made["spec"]["initContainers"] if each["name"] == "fsm-init"]

    assert made["spec"]["containers"][0]["securityContext"]["runAsUser"] == 1500
    assert init["securityContext"]["runAsUser"] == 0
    assert init["securityContext"]["capabilities"] == {"add": ["NET_ADMIN"]}


def test_init_container_is_privileged_on_request() -> None:
    """Catches: the init container has fewer rights in Kubernetes than on namespaces."""
    made = injected(pod(), MESH, replace(PARTS, privileged=True))
    init = made["spec"]["initContainers"][-1]

    assert init["securityContext"]["privileged"] is True
    assert (
        "privileged"
        not in injected(pod(), MESH, PARTS)["spec"]["initContainers"][-1]["securityContext"]
    )


def test_lists_of_both_scopes_are_literals() -> None:
    """Catches: the lists of one scope are missing, or the kubelet expands a dollar sign."""
    given = pod()
    given["metadata"]["annotations"]["flomesh.io/outbound-port-exclusion-list"] = "6379,$(X)"
    made = injected(given, mesh_config(outboundPortExclusionList=[80]), PARTS)
    env = {each["name"]: each for each in made["spec"]["initContainers"][-1]["env"]}

    assert env["FSM_OUTBOUND_PORT_EXCLUSION_LIST"]["value"] == "80,6379,$$(X)"
    assert env["POD_IP"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_documents_are_stored_in_the_pod() -> None:
    """Catches: a document needs an object that other namespaces lack."""
    given = pod()
    given["metadata"]["annotations"]["note"] = "mine"
    made = injected(given, mesh_config(outboundPortExclusionList=[80]), PARTS)
    found = {
        file: json.loads(text) for file, text in mounted(made).items() if file.endswith(".json")
    }

    assert found["pod.json"]["metadata"]["annotations"] == {"note": "mine"}
    assert found["pod.json"]["spec"] == given["spec"]
    assert found["mesh-config.json"]["spec"]["traffic"] == {"outboundPortExclusionList": [80]}
    assert "managedFields" not in found["mesh-config.json"]["metadata"]


def test_every_list_has_a_file() -> None:
    """Catches: the init container lacks the files of the contract in Kubernetes."""
    given = pod()
    key = "flomesh.io/outbound-ip-range-exclusion-list"
    given["metadata"]["annotations"][key] = "10.0.0.0/8"
    made = injected(given, mesh_config(outboundIPRangeExclusionList=["100.64.0.0/24"]), PARTS)
    files = mounted(made)

    assert [path for path in files if path.startswith("lists/")] == [
        f"lists/{name.value}" for name in ListName
    ]
    assert files["lists/outbound_ip_range_exclusion_list"] == "10.0.0.0/8\n100.64.0.0/24\n"
    assert files["lists/inbound_port_exclusion_list"] == ""


@pytest.mark.parametrize(
    ("kind", "port"),
    [("livenessProbe", 15901), ("readinessProbe", 15902), ("startupProbe", 15903)],
)
def test_http_probe_goes_to_the_sidecar(kind: str, port: int) -> None:
    """Catches: a rewritten probe is captured, or asks for the wrong port or path."""
    probe = {"httpGet": {"port": "http", "path": "/ready?x=1"}, "periodSeconds": 3}
    made = injected(pod(**{kind: probe}), MESH, PARTS)
    found = probe_of(made, kind)

    assert (found["port"], found["path"]) == (port, "/fsm-healthcheck")
    assert {"name": "Original-Http-Port", "value": "8080"} in found["httpHeaders"]
    assert {"name": "Original-Http-Path", "value": "/ready?x=1"} in found["httpHeaders"]


@pytest.mark.parametrize(
    ("probe", "port"),
    [
        ({"tcpSocket": {"port": "http"}}, 15904),
        ({"httpGet": {"port": 8080, "scheme": "HTTPS"}}, 15902),
    ],
)
def test_other_probes_need_the_health_responder(probe: dict[str, Any], port: int) -> None:
    """Catches: the sidecar answers a TCP probe although the application is dead."""
    made = injected(pod(readinessProbe=probe), MESH, PARTS)
    found = probe_of(made, "readinessProbe")

    assert (found["port"], found["scheme"]) == (port, "HTTP")
    assert {"name": "Original-Tcp-Port", "value": "8080"} in found["httpHeaders"]
    assert made["spec"]["containers"][-1]["name"] == "fsm-healthcheck"


def test_exec_probe_is_untouched() -> None:
    """Catches: an exec probe is rewritten to use the network."""
    probe = {"exec": {"command": ["true"]}}
    made = injected(pod(livenessProbe=probe), MESH, PARTS)

    assert made["spec"]["containers"][1]["livenessProbe"] == probe


@pytest.mark.parametrize(
    ("annotation", "namespace", "wanted"),
    [(None, True, True), (None, False, False), ("Yes", False, True), ("disabled", True, False)],
)
def test_pod_annotation_overrides_its_namespace(
    annotation: str | None, namespace: bool, wanted: bool
) -> None:
    """Catches: a pod that opts out is injected, or one that opts in is not."""
    given = pod()
    if annotation is not None:
        given["metadata"]["annotations"]["flomesh.io/sidecar-injection"] = annotation

    assert wants_injection(given, namespace_enabled=namespace) is wanted


def test_host_network_is_never_injected() -> None:
    """Catches: an init container changes the rules of the node."""
    given = pod()
    given["spec"]["hostNetwork"] = True

    assert not wants_injection(given)


def test_unknown_annotation_value_is_refused() -> None:
    """Catches: a typo in the annotation silently leaves a pod out of the mesh."""
    given = pod()
    given["metadata"]["annotations"]["flomesh.io/sidecar-injection"] = "maybe"

    with pytest.raises(BadAnnotation, match="maybe"):
        wants_injection(given)
