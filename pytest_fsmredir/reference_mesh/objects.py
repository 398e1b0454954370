"""Build the objects of the reference mesh from the manifests and the settings of an install."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pytest_fsmredir import layout
from pytest_fsmredir.backends.kubernetes.cluster.certificates import Certificate
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import MANAGED_BY

Object = dict[str, Any]

OURS = "pytest-fsmredir-mesh"
WEBHOOK_HOST = "fsm-injector.fsm-system.svc"
WEBHOOK_NAME = "fsm-inject.k8s.io"
MESH_CONFIG_NAME = "fsm-mesh-config"
CERTIFICATE_SECRET = "fsm-injector-certificate"  # noqa: S105 - the name of one

_PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Secret": "secrets",
    "Service": "services",
    "Deployment": "deployments",
    "MeshConfig": "meshconfigs",
    "CustomResourceDefinition": "customresourcedefinitions",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """An object of the mesh, and its path in the API.

    Attributes:
        body: The object as JSON.
    """

    body: Object

    @property
    def kind(self) -> str:
        """Kind of the object."""
        return str(self.body["kind"])

    @property
    def collection(self) -> str:
        """Path of the object's collection in the API."""
        version, metadata = self.body["apiVersion"], self.body["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{root}{where}/{_PLURALS[self.kind]}"

    @property
    def path(self) -> str:
        """Path of the object in the API."""
        return f"{self.collection}/{self.body['metadata']['name']}"

    @property
    def called(self) -> str:
        """Name of the object in messages."""
        metadata = self.body["metadata"]
        where = f" in {metadata['namespace']}" if "namespace" in metadata else ""
        return f"{self.kind} {metadata['name']}{where}"


def pieces() -> list[Piece]:
    """Return the objects in the order of their creation."""
    folder = layout.fixtures() / "manifests"
    found: list[Piece] = []
    for file in ("mesh-config-crd.yaml", "reference-mesh.yaml"):
        for body in yaml.safe_load_all((folder / file).read_text()):
            body["metadata"].setdefault("labels", {})[MANAGED_BY] = OURS
            found.append(Piece(body))
    return found


def is_ours(existing: Mapping[str, Any]) -> bool:
    """Whether this package made an object of the cluster."""
    return (existing["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS


def complete(
    mesh: Sequence[Piece],
    certificate: Certificate,
    image: str,
    lists: Mapping[str, Sequence[object]],
) -> None:
    """Fill in the certificate, the image and the lists of an install."""
    by_kind = {piece.kind: piece.body for piece in mesh}
    by_kind["Secret"]["data"] = {
        "ca.crt": _encoded(certificate.authority),
        "tls.crt": _encoded(certificate.chain),
        "tls.key": _encoded(certificate.key),
    }
    (webhook,) = by_kind["MutatingWebhookConfiguration"]["webhooks"]
    webhook["clientConfig"]["caBundle"] = _encoded(certificate.authority)
    (container,) = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    container["env"] = [{"name": "FSM_MESH_IMAGE", "value": image}]
    by_kind["MeshConfig"]["spec"]["traffic"] = dict(lists)


def certificate_in(secret: Mapping[str, Any]) -> Certificate | None:
    """Return the certificate in the Secret of an earlier install; None without one."""
    data = secret.get("data") or {}
    try:
        return Certificate(*(b64decode(data[key]) for key in ("ca.crt", "tls.crt", "tls.key")))
    except KeyError:
        return None


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()
