"""Read from the Kubernetes API in a pod, by its service account; standard library only."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ANSWER_S = 10.0
"""Seconds that the API server may take; the webhook's own timeout is 20 s."""

_MESH_CONFIGS = "/apis/config.flomesh.io/v1alpha3/namespaces/{}/meshconfigs/{}"


class Api:
    """Reads what the webhook needs; each pod needs a new read."""

    def __init__(self, server: str, account: Path = ACCOUNT) -> None:
        self._server, self._account = server, account
        self._context = ssl.create_default_context(cafile=str(account / "ca.crt"))

    @classmethod
    def of_this_pod(cls) -> Api:
        """Return the API of the cluster that this process runs in."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")

    def namespace(self, name: str) -> dict[str, Any]:
        """Return a Namespace."""
        return self._get(f"/api/v1/namespaces/{name}")

    def mesh_config(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a MeshConfig; if it does not exist, one without lists."""
        try:
            return self._get(_MESH_CONFIGS.format(namespace, name))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        metadata = {"name": name, "namespace": namespace}
        return {"kind": "MeshConfig", "metadata": metadata, "spec": {}}

    def _get(self, path: str) -> dict[str, Any]:
        # Read the token each time, because the kubelet renews it.
        token = (self._account / "token").read_text()
        request = urllib.request.Request(  # noqa: S310 - the scheme is https
            self._server + path, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(  # noqa: S310
            request, timeout=ANSWER_S, context=self._context
        ) as answer:
            got: dict[str, Any] = json.load(answer)
        return got
