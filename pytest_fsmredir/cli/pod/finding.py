"""A pod as it runs: whether a mesh has injected it, and under which settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.injection import (
    INIT_NAME,
    INJECTION,
    SIDECAR_NAME,
)
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.model.configuration import Configuration

MESH_CONFIG = "fsm-mesh-config"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")  # RFC 1123, as names of the API are


@dataclass(frozen=True, slots=True)
class Found:
    """A pod that runs.

    Attributes:
        pod: As the API has it.
        mesh_config: The mesh's; None where there is none.
    """

    pod: Object
    mesh_config: Object | None

    @property
    def name(self) -> str:
        """Namespace and name."""
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def node(self) -> str:
        """Name of its node."""
        return str(self.pod["spec"]["nodeName"])

    @property
    def on_host_network(self) -> bool:
        """It has no network of its own."""
        return bool(self.pod["spec"].get("hostNetwork"))

    @property
    def not_injected(self) -> str:
        """Why there is no redirection in it; empty if there ought to be."""
        if self.on_host_network:
            return "it is on the network of its node"
        spec = self.pod["spec"]
        names = {each["name"] for key in _CONTAINERS for each in spec.get(key) or ()}
        if {SIDECAR_NAME, INIT_NAME} & names:
            return ""
        value = (self.pod["metadata"].get("annotations") or {}).get(INJECTION)
        told = "no annotation of its own" if value is None else f"{INJECTION}: {value}"
        return f"it has no container {SIDECAR_NAME} or {INIT_NAME}, and {told}"

    @property
    def configuration(self) -> Configuration:
        """Its annotations, and the lists that the mesh has now."""
        return Configuration.of(self.pod, self.mesh_config or {})

    @property
    def declared_ports(self) -> frozenset[int]:
        """The ports that its containers say they listen on."""
        containers = [each for key in _CONTAINERS for each in self.pod["spec"].get(key) or ()]
        ports = [port for each in containers for port in each.get("ports") or ()]
        return frozenset(int(port["containerPort"]) for port in ports)

    @property
    def headline(self) -> str:
        """What is judged, in one line."""
        where = f"pod {self.name} on {self.node}"
        if self.not_injected:
            return f"{where}: not injected ({self.not_injected}), so everything is to be direct"
        lists = [
            f"{name.mesh_config_key} {','.join(values)}"
            for name, values in self.configuration.effective().items()
            if values
        ]
        mesh = "" if self.mesh_config else f" (there is no MeshConfig {MESH_CONFIG})"
        return f"{where}: injected; {'; '.join(lists) or 'no lists'}{mesh}"


_CONTAINERS = ("initContainers", "containers")


def parse_name(text: str) -> tuple[str, str]:
    """Return namespace and name.

    Raises:
        SettingsError: The text is not ``NAMESPACE/NAME``.
    """
    namespace, _, name = text.partition("/")
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
        raise SettingsError(f"{text!r} is no pod: give NAMESPACE/NAME")
    return namespace, name


def find(cluster: Cluster, namespace: str, name: str, mesh_namespace: str) -> Found:
    """Return a pod and the MeshConfig it is under.

    Raises:
        PreflightError: There is no such pod, or it does not run.
        ApiError: The cluster does not answer, or this user may not look.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    pod = _get(cluster, path)
    if pod is None:
        raise PreflightError(f"there is no pod {name} in the namespace {namespace}")
    phase = pod.get("status", {}).get("phase", "unknown")
    if phase != "Running" or not pod["status"].get("podIPs"):
        raise PreflightError(f"pod {namespace}/{name} does not run: it is {phase}")
    group = "/apis/config.flomesh.io/v1alpha3"
    config = _get(cluster, f"{group}/namespaces/{mesh_namespace}/meshconfigs/{MESH_CONFIG}")
    return Found(pod, config)


def _get(cluster: Cluster, path: str) -> Object | None:
    try:
        return cluster.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
