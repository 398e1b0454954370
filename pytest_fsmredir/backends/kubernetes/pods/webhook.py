"""Let the webhook of the installed mesh inject plain annotated pods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.injection import (
    INJECTION,
    MONITORED_BY,
    BadAnnotation,
    wants_injection,
)
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject, Traffic
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import MeshScope
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.errors import BackendError

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.pods.orders import Order

LOG_S = 3.0
"""Seconds until an error of the injector appears in its log."""

MESH_CONFIG = "fsm-mesh-config"
"""Name of FSM's MeshConfig."""

INSTALLED_LISTS_CHECK = "KUBE-030"
"""The check whose pods get the installed mesh's own lists."""

_INJECTOR = "fsm-injector"  # value of the label "app" of its pods, and name of its container


class WebhookInjection:
    """Injection by the webhook of a mesh that works like FSM.

    Args:
        cluster: The cluster of the mesh.
        images: The images of the pods' own containers.
        mesh: Name of the mesh: value of the namespace label ``flomesh.io/monitored-by``.
        mesh_namespace: Namespace of its MeshConfig and its injector.
        mesh_config: Name of its MeshConfig.
        webhook: Name of its webhook in messages of the API server.
    """

    agents: tuple[str, ...] = (APP,)
    files: Mapping[str, bytes] = MappingProxyType({})  # the mesh brings the init container
    granted = frozenset({Need.WEBHOOK})
    withheld = frozenset({Need.SIDECAR_CONTROL, Need.ANSWERING_SIDECAR, Need.PROGRAMMING})

    def __init__(
        self,
        cluster: Cluster,
        images: Images,
        *,
        mesh: str = "fsm",
        mesh_namespace: str = "fsm-system",
        mesh_config: str = MESH_CONFIG,
        webhook: str = "fsm-inject.k8s.io",
    ) -> None:
        self._cluster, self._images = cluster, images
        self._mesh, self.mesh_namespace, self._webhook = mesh, mesh_namespace, webhook
        self._scope = MeshScope(cluster, mesh_namespace, mesh_config)
        self._wanted: list[bool] = []

    def begin(self, namespace: str) -> None:
        """Add the namespace to the mesh, and reserve the mesh's lists for this run.

        Raises:
            PreflightError: The mesh does not exist, or does not redirect in pods.
            BackendError: Another run has reserved the lists.
        """
        marks = {"labels": {MONITORED_BY: self._mesh}, "annotations": {INJECTION: "enabled"}}
        self._cluster.patch(f"/api/v1/namespaces/{namespace}", {"metadata": marks})
        self._scope.require_pod_level()
        self._scope.take()

    @property
    def installed(self) -> Traffic:
        """The lists in the MeshConfig before the run, without empty ones."""
        return self._scope.installed

    @property
    def remarks(self) -> Sequence[str]:
        """A note on the lists of the mesh that the run has replaced."""
        lists = [f"{key} {json.dumps(values)}" for key, values in self.installed.items()]
        if not lists:
            return ()
        return (
            f"{self._scope.called}: its own lists are set aside during the run and put back at its"
            f" end: {', '.join(lists)}; {INSTALLED_LISTS_CHECK} alone judges the mesh with them",
        )

    def configure(self, traffic: Traffic) -> str:
        """Set the mesh's lists for the pods that are made next."""
        return self._scope.set(traffic)

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the plain pod; a bare one gets the annotation that disables injection."""
        if not order.bare:
            return pod
        metadata = pod["metadata"]
        annotations = {**(metadata.get("annotations") or {}), INJECTION: "disabled"}
        return {**pod, "metadata": {**metadata, "annotations": annotations}}

    def made(self, sent: Object, got: Object) -> None:
        """Note whether the mesh has injected a container into a pod that asks for it."""
        try:
            wanted = wants_injection(sent)
        except BadAnnotation:
            return
        if wanted:
            self._wanted.append(_containers(sent) != _containers(got))

    def check(self) -> None:
        """Check that the webhook has injected at least one pod.

        If the mesh injects some pods and not others, packets decide what that means.
        If it has injected no pod at all, the API server has not called the webhook.

        Raises:
            BackendError: The mesh has injected no pod so far.
        """
        if self._wanted and not any(self._wanted):
            raise BackendError(
                f"the mesh has put no sidecar and no init container into any of"
                f" {len(self._wanted)} pods: is its webhook"
                f" registered for namespaces with the label {MONITORED_BY}={self._mesh}?"
                " see: kubectl get mutatingwebhookconfigurations -o yaml"
            )

    def refusal(self, error: ApiError, path: str, sent: Object) -> str | None:
        """Return why the mesh refused a pod at its admission.

        Raises:
            BackendError: Its webhook is down, or returned an invalid response.
        """
        text = str(error)
        if f'admission webhook "{self._webhook}" denied the request' in text:
            return f"at admission: {text.partition('denied the request: ')[2]}"
        called = f'failed calling webhook "{self._webhook}": '
        if called not in text:
            return None
        why = text.partition(called)[2]
        # When FSM refuses a pod, its response lacks the request's uid. So the API server reports
        # the missing uid instead of the reason, which is only in the injector's log.
        if "expected response.uid" in why:
            return f"at admission: {self._reason(path, sent) or why}"
        raise BackendError(
            f"the mesh's webhook does not answer: {why}; see: kubectl get pods -n"
            f" {self.mesh_namespace}"
        )

    def end(self) -> None:
        """Restore the mesh's lists."""
        self._scope.restore()

    def _reason(self, path: str, sent: Object) -> str:
        """Repeat the request as a dry run, and return the new error in the injector's log."""
        try:
            before = self._log()
            with suppress(ApiError):
                self._cluster.create(f"{path}?dryRun=All", sent)
            retrying = Retrying(
                stop=stop_after_delay(LOG_S),
                wait=wait_fixed(0.1),
                retry=retry_if_result(lambda log: log == before),
                retry_error_callback=lambda _: "",
            )
            log: str = retrying(self._log)
        except ApiError as error:
            return f"the reason is in the log of {_INJECTOR}, which cannot be read: {error}"
        errors = [found for line in log.splitlines() if (found := _error_in(line))]
        return errors[-1] if errors else ""

    def _log(self) -> str:
        """Return the end of the injector's log."""
        pods = f"/api/v1/namespaces/{self.mesh_namespace}/pods"
        found = self._cluster.get(pods, labelSelector=f"app={_INJECTOR}")["items"]
        names = [pod["metadata"]["name"] for pod in found]
        return "\n".join(self._cluster.log(self.mesh_namespace, name, _INJECTOR) for name in names)


def by_webhook(mesh: str, mesh_namespace: str) -> Inject:
    """Let the mesh of that name inject pods; its MeshConfig is in ``mesh_namespace``."""
    return lambda cluster, images: WebhookInjection(
        cluster, images, mesh=mesh, mesh_namespace=mesh_namespace
    )


def _error_in(line: str) -> str:
    """Return the error in a line of FSM's log; empty if there is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("error", "")) if isinstance(entry, dict) else ""


def _containers(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of a pod's containers.

    Labels and annotations do not prove injection: FSM labels pods in each of its modes, also in the
    mode NodeLevel, which injects no container.
    """
    spec = pod["spec"]
    return [each["name"] for each in [*spec.get("initContainers", ()), *spec["containers"]]]
