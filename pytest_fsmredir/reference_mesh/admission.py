"""Compute the webhook's response: take an AdmissionReview, return one with a patch."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_fsmredir.backends.kubernetes.pods.injection import (
    SIDECAR_NAME,
    BadAnnotation,
    Object,
    Parts,
    injected,
    is_enabled,
    require_valid,
    wants_injection,
)
from pytest_fsmredir.sidecars.recorder import HEALTH_UID

MESH_NAMESPACE = "fsm-system"
NEVER = ("kube-system", "kube-public", MESH_NAMESPACE)
"""Namespaces whose pods are never injected, whatever their labels and annotations."""

COMMAND = "/usr/local/bin/fsmredir-mesh"
WAIT_HOOK = "/usr/local/bin/wait-pipy"


def review(
    asked: Mapping[str, Any],
    namespace: Mapping[str, Any],
    mesh_config: Mapping[str, Any],
    image: str,
) -> Object:
    """Return the response to an AdmissionReview of a new Pod.

    Args:
        asked: The review with its request.
        namespace: The pod's Namespace.
        mesh_config: The MeshConfig.
        image: Image of the injected containers.
    """
    request = asked["request"]
    pod = request["object"]
    response: Object = {"uid": request["uid"], "allowed": True}
    try:
        if _is_ours(pod, namespace):
            require_valid(pod["metadata"].get("annotations") or {})
            made = injected(pod, mesh_config, parts_of(image, mesh_config))
            patch = json.dumps(list(changes(pod, made)))
            response |= {"patchType": "JSONPatch", "patch": b64encode(patch.encode()).decode()}
    except BadAnnotation as why:
        response |= {"allowed": False, "status": {"code": 400, "message": str(why)}}
    return {"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Object]:
    """Yield a JSON patch (RFC 6902) between two Pods, one step for each field that differs."""
    for part in ("metadata", "spec"):
        for key, value in after[part].items():
            if before[part].get(key) != value:
                step = "replace" if key in before[part] else "add"
                yield {"op": step, "path": f"/{part}/{key}", "value": value}


def parts_of(image: str, mesh_config: Mapping[str, Any]) -> Parts:
    """Return the containers to inject into a pod."""
    sidecar = mesh_config.get("spec", {}).get("sidecar") or {}
    common = {"image": image, "imagePullPolicy": "IfNotPresent"}
    return Parts(
        init={**common, "command": [COMMAND, "init"]},
        sidecar={**common, "command": [COMMAND, "sidecar"]},
        health={
            **common,
            "command": [COMMAND, "health"],
            "securityContext": {"runAsUser": HEALTH_UID},
        },
        hold=sidecar.get("holdApplicationUntilProxyStarts", True),
        hold_hook=(WAIT_HOOK,),
    )


def _is_ours(pod: Mapping[str, Any], namespace: Mapping[str, Any]) -> bool:
    metadata = namespace["metadata"]
    if metadata["name"] in NEVER or _has_sidecar(pod):
        return False
    enabled = is_enabled(metadata.get("annotations") or {})
    return wants_injection(pod, namespace_enabled=bool(enabled))


def _has_sidecar(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is injected already, as a copy by ``kubectl debug --copy-to`` is."""
    return any(each["name"] == SIDECAR_NAME for each in pod["spec"]["containers"])
