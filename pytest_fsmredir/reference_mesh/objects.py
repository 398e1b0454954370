"""The objects of the reference mesh: what the manifests say, and what is only known at install."""

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
    """An object, and where the API has it.

    Attributes:
        body: As it is to be.
    """

    body: Object

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.body["kind"])

    @property
    def collection(self) -> str:
        """Path of its collection."""
        version, metadata = self.body["apiVersion"], self.body["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{root}{where}/{_PLURALS[self.kind]}"

    @property
    def path(self) -> str:
        """Its own path."""
        return f"{self.collection}/{self.body['metadata']['name']}"

    @property
    def called(self) -> str:
        """Its name for people."""
        metadata = self.body["metadata"]
        where = f" in {metadata['namespace']}" if "namespace" in metadata else ""
        return f"{self.kind} {metadata['name']}{where}"


def pieces() -> list[Piece]:
    """Return the objects, in the order in which they are made."""
    folder = layout.fixtures() / "manifests"
    found: list[Piece] = []
    for file in ("mesh-config-crd.yaml", "reference-mesh.yaml"):
        for body in yaml.safe_load_all((folder / file).read_text()):
            body["metadata"].setdefault("labels", {})[MANAGED_BY] = OURS
            found.append(Piece(body))
    return found


def is_ours(existing: Mapping[str, Any]) -> bool:
    """Whether an object of the cluster was made by us."""
    return (existing["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS


def complete(
    mesh: Sequence[Piece],
    certificate: Certificate,
    image: str,
    lists: Mapping[str, Sequence[object]],
) -> None:
    """Put in what is only known at install."""
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
    """Return the certificate that a Secret of an earlier install holds."""
    data = secret.get("data") or {}
    try:
        return Certificate(*(b64decode(data[key]) for key in ("ca.crt", "tls.crt", "tls.key")))
    except KeyError:
        return None


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()
