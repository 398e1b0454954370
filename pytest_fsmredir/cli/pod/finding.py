"""Find a running pod, whether a mesh injected it, and its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.causes import refusal
from pytest_fsmredir.backends.kubernetes.pods.injection import (
    IGNORE,
    INIT_NAME,
    INJECTION,
    MONITORED_BY,
    SIDECAR_NAME,
    BadAnnotation,
    is_enabled,
)
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import require_pod_level
from pytest_fsmredir.backends.kubernetes.pods.states import PodStage, state_of
from pytest_fsmredir.backends.kubernetes.pods.webhook import MESH_CONFIG
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.model.configuration import Configuration

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")  # RFC 1123, like names in the API


@dataclass(frozen=True, slots=True)
class Found:
    """A running pod.

    Attributes:
        pod: The pod, as the API returns it.
        mesh_config: The MeshConfig of the mesh; None if there is none.
        namespace: The namespace of the pod, as the API returns it; None if it does not matter.
    """

    pod: Object
    mesh_config: Object | None
    namespace: Object | None = None

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
        """Whether it uses the network of its node."""
        return bool(self.pod["spec"].get("hostNetwork"))

    @property
    def is_injected(self) -> bool:
        """Whether a mesh injected a container into it."""
        spec = self.pod["spec"]
        names = {each["name"] for key in _CONTAINERS for each in spec.get(key) or ()}
        return bool({SIDECAR_NAME, INIT_NAME} & names)

    @property
    def not_in_mesh(self) -> str:
        """Why its traffic must not be redirected; empty if it must be redirected."""
        if self.on_host_network:
            return "it is on the network of its node"
        if self.is_injected or self.missed:
            return ""
        value = _annotations(self.pod).get(INJECTION)
        annotation = f"no annotation {INJECTION}" if value is None else f"{INJECTION}: {value}"
        return f"it has no container {SIDECAR_NAME} or {INIT_NAME}, and {annotation}"

    @property
    def missed(self) -> str:
        """Why a mesh should have injected the pod, if no mesh did; else empty.

        A mesh like FSM watches the namespaces with a label, and injects pods as annotations say
        (pkg/injector/webhook.go of FSM). It injects a pod only when the pod is created.
        """
        if self.is_injected or self.on_host_network or self.namespace is None:
            return ""
        labels = self.namespace["metadata"].get("labels") or {}
        if MONITORED_BY not in labels or not _EXEMPTING.isdisjoint(labels):
            return ""
        for whose, document in (("its own", self.pod), ("its namespace's", self.namespace)):
            requested = _requested(document)
            if requested is not None:
                why = f"its namespace is in the mesh {labels[MONITORED_BY]!r}, and {whose}"
                return f"{why} annotation {INJECTION} asks for injection" if requested else ""
        return ""

    @property
    def configuration(self) -> Configuration:
        """Its annotations, and the current lists of the mesh."""
        return Configuration.of(self.pod, self.mesh_config or {})

    @property
    def declared_ports(self) -> frozenset[int]:
        """The ports that its containers declare."""
        containers = [each for key in _CONTAINERS for each in self.pod["spec"].get(key) or ()]
        ports = [port for each in containers for port in each.get("ports") or ()]
        return frozenset(int(port["containerPort"]) for port in ports)

    @property
    def headline(self) -> str:
        """The pod and its settings, in one line."""
        where = f"pod {self.name} on {self.node}"
        if self.not_in_mesh:
            return f"{where}: not injected ({self.not_in_mesh}), so no traffic may be redirected"
        lists = [
            f"{name.mesh_config_key} {','.join(values)}"
            for name, values in self.configuration.effective().items()
            if values
        ]
        how = f"NOT injected, although {self.missed}" if self.missed else "injected"
        mesh = "" if self.mesh_config else f" (there is no MeshConfig {MESH_CONFIG})"
        return f"{where}: {how}; {'; '.join(lists) or 'no lists'}{mesh}"

    @property
    def advice(self) -> str:
        """A possible cause if its traffic is not as documented; empty if unknown."""
        made = self.pod["metadata"].get("creationTimestamp", "")
        if self.missed:
            return (
                f"a mesh injects a pod when the pod is made, which was at {made}: if its namespace"
                " joined the mesh later, or the webhook was down, make the pod again"
            )
        changed = _last_change(self.mesh_config)
        if made and changed > made:
            return (
                f"the MeshConfig {MESH_CONFIG} was changed at {changed}, after the pod was made at"
                f" {made}: a pod keeps the lists that it was made with, so make it again and judge"
                " that one"
            )
        return ""


_CONTAINERS = ("initContainers", "containers")
_EXEMPTING = frozenset({IGNORE, "control-plane"})  # labels of namespaces that FSM's webhook skips


def _annotations(document: Object) -> Mapping[str, str]:
    return document["metadata"].get("annotations") or {}


def _requested(document: Object) -> bool | None:
    """Return whether the annotations of an object request injection; None if they do not say."""
    try:
        return is_enabled(_annotations(document))
    except BadAnnotation:
        return None


def _last_change(mesh_config: Object | None) -> str:
    """Return the time of the last change of a MeshConfig's spec (RFC 3339); empty if unknown."""
    managed = (mesh_config or {}).get("metadata", {}).get("managedFields") or ()
    times = [each.get("time", "") for each in managed if "f:spec" in each.get("fieldsV1", {})]
    return max(times, default="")


def parse_name(text: str) -> tuple[str, str]:
    """Return namespace and name.

    Raises:
        SettingsError: The text is not ``NAMESPACE/NAME``.
    """
    namespace, _, name = text.partition("/")
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
        raise SettingsError(f"{text!r} does not name a pod: give NAMESPACE/NAME")
    return namespace, name


def find(cluster: Cluster, namespace: str, name: str, mesh_namespace: str) -> Found:
    """Return a pod and its MeshConfig.

    Raises:
        PreflightError: The pod does not exist or does not run, or its mesh redirects on the node.
        ApiError: The cluster does not answer, or denies access.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    pod = _get(cluster, path)
    if pod is None:
        raise PreflightError(f"there is no pod {name} in the namespace {namespace}")
    _require_running(cluster, namespace, name, pod)
    group = "/apis/config.flomesh.io/v1alpha3"
    config = _get(cluster, f"{group}/namespaces/{mesh_namespace}/meshconfigs/{MESH_CONFIG}")
    found = Found(pod, config)
    if found.is_injected or found.on_host_network:
        return found
    found = replace(found, namespace=_get(cluster, f"/api/v1/namespaces/{namespace}"))
    if found.missed and config is not None:
        require_pod_level(config, f"MeshConfig {MESH_CONFIG} in {mesh_namespace}")
    return found


def _require_running(cluster: Cluster, namespace: str, name: str, pod: Object) -> None:
    """Require that a pod runs.

    Raises:
        PreflightError: The pod does not run; the message has the states of its containers.
    """
    status = pod.get("status", {})
    if status.get("phase") == "Running" and status.get("podIPs"):
        return
    state = state_of(pod, float("inf"))
    why = f"it is {status.get('phase', 'unknown')}"
    if state.stage is PodStage.REFUSED:
        why = refusal(cluster, namespace, name, state)
    elif state.reason:
        why = f"{why}: {state.reason}" if state.reason not in why else why
    raise PreflightError(f"pod {namespace}/{name} does not run: {why}")


def _get(cluster: Cluster, path: str) -> Object | None:
    try:
        return cluster.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
