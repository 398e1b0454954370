"""Injection by the mesh that is installed in the cluster, into plain annotated pods."""

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
    from pytest_fsmredir.backends.kubernetes.pods.pool import Order

LOG_S = 3.0
"""How long a line of the injector may take into its log."""

MESH_CONFIG = "fsm-mesh-config"
"""Name of FSM's MeshConfig."""

INSTALLED_LISTS_CHECK = "KUBE-030"
"""The check whose pods get the lists that the mesh is configured with."""

_INJECTOR = "fsm-injector"  # the label "app" of its pods, and its container


class WebhookInjection:
    """The webhook of a mesh in FSM's shape; FSM itself is one.

    Args:
        cluster: Where.
        images: Where the pods' own container comes from.
        mesh: Name of the mesh: value of the namespace label ``flomesh.io/monitored-by``.
        mesh_namespace: Where its MeshConfig and its injector are.
        mesh_config: Name of its MeshConfig.
        webhook: Name of its webhook, as messages of the API server have it.
    """

    agents: tuple[str, ...] = (APP,)
    files: Mapping[str, bytes] = MappingProxyType({})  # the init container is the mesh's own
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
        """Put the namespace into the mesh, and have the mesh's lists for this run.

        Raises:
            PreflightError: There is no such mesh, or it does not redirect in pods.
            BackendError: Another run has its lists.
        """
        marks = {"labels": {MONITORED_BY: self._mesh}, "annotations": {INJECTION: "enabled"}}
        self._cluster.patch(f"/api/v1/namespaces/{namespace}", {"metadata": marks})
        self._scope.require_pod_level()
        self._scope.take()

    @property
    def installed(self) -> Traffic:
        """The lists that the mesh is configured with, empty ones left out."""
        return self._scope.installed

    @property
    def remarks(self) -> Sequence[str]:
        """Which lists of the mesh are set aside."""
        lists = [f"{key} {json.dumps(values)}" for key, values in self.installed.items()]
        if not lists:
            return ()
        return (
            f"{self._scope.called}: its own lists are set aside during the run and put back at its"
            f" end: {', '.join(lists)}; {INSTALLED_LISTS_CHECK} alone judges the mesh with them",
        )

    def configure(self, traffic: Traffic) -> str:
        """Have the mesh's lists be these for the pods that are made next."""
        return self._scope.set(traffic)

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the pod as its user wrote it; one that nobody is to program opts out."""
        if not order.bare:
            return pod
        metadata = pod["metadata"]
        annotations = {**(metadata.get("annotations") or {}), INJECTION: "disabled"}
        return {**pod, "metadata": {**metadata, "annotations": annotations}}

    def made(self, sent: Object, got: Object) -> None:
        """Learn whether the mesh has put a container into a pod that is to be in the mesh."""
        try:
            wanted = wants_injection(sent)
        except BadAnnotation:
            return
        if wanted:
            self._wanted.append(_containers(sent) != _containers(got))

    def check(self) -> None:
        """See that there is a mesh at work.

        A pod that was left alone among others that were not is the mesh's doing, and packets tell
        what that means. Where all were left alone, the webhook was never asked.

        Raises:
            BackendError: No container was put into any pod so far.
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
            BackendError: Its webhook is down, or gave no answer of meaning.
        """
        text = str(error)
        if f'admission webhook "{self._webhook}" denied the request' in text:
            return f"at admission: {text.partition('denied the request: ')[2]}"
        called = f'failed calling webhook "{self._webhook}": '
        if called not in text:
            return None
        why = text.partition(called)[2]
        # FSM answers a pod that it refuses without the uid of the request, and so loses its reason.
        if "expected response.uid" in why:
            return f"at admission: {self._reason(path, sent) or why}"
        raise BackendError(
            f"the mesh's webhook does not answer: {why}; see: kubectl get pods -n"
            f" {self.mesh_namespace}"
        )

    def end(self) -> None:
        """Put the mesh's lists back."""
        self._scope.restore()

    def _reason(self, path: str, sent: Object) -> str:
        """Have the pod refused again, and return what the injector's log then says."""
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
        errors = [said for line in log.splitlines() if (said := _error_in(line))]
        return errors[-1] if errors else ""

    def _log(self) -> str:
        """Return the end of the injector's log."""
        pods = f"/api/v1/namespaces/{self.mesh_namespace}/pods"
        found = self._cluster.get(pods, labelSelector=f"app={_INJECTOR}")["items"]
        names = [pod["metadata"]["name"] for pod in found]
        return "\n".join(self._cluster.log(self.mesh_namespace, name, _INJECTOR) for name in names)


def by_webhook(mesh: str, mesh_namespace: str) -> Inject:
    """Have pods injected by the mesh of that name, whose MeshConfig is in that namespace."""
    return lambda cluster, images: WebhookInjection(
        cluster, images, mesh=mesh, mesh_namespace=mesh_namespace
    )


def _error_in(line: str) -> str:
    """Return the error that a line of FSM's log tells of."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("error", "")) if isinstance(entry, dict) else ""


def _containers(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of a pod's containers.

    A label or an annotation alone is not enough: FSM gives pods a label in each of its modes.
    """
    spec = pod["spec"]
    return [each["name"] for each in [*spec.get("initContainers", ()), *spec["containers"]]]
