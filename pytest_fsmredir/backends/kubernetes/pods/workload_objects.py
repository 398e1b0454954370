"""Objects with a template for one pod, such as a Deployment; made early and taken by checks."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pytest_fsmredir.backends.kubernetes.cluster.client import Object
from pytest_fsmredir.backends.kubernetes.cluster.waiting import eventually
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.errors import FsmRedirError

POD_OF_WORKLOAD_S = 60.0
"""Seconds that a controller may take to make a pod from its template."""

LABEL = "fsmredir/workload"

_APPS = "/apis/apps/v1"
_COLLECTIONS = {
    "Deployment": (_APPS, "deployments"),
    "StatefulSet": (_APPS, "statefulsets"),
    "DaemonSet": (_APPS, "daemonsets"),
    "Job": ("/apis/batch/v1", "jobs"),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A request for an object with a pod template.

    Attributes:
        kind: ``Deployment``, ``StatefulSet``, ``DaemonSet`` or ``Job``.
        order: The order of its pod.
    """

    kind: str
    order: Order

    @property
    def key(self) -> tuple[str, str]:
        """A key that is the same for equal templates."""
        return self.kind, self.order.key

    def path(self, pool: PodPool, name: str) -> str:
        """Return the path of an object in the API."""
        return f"{self._collection(pool)}/{name}"

    def create(self, pool: PodPool, name: str) -> None:
        """Create an object of that name, whose pods get the lists in force.

        Raises:
            ApiError: The cluster refuses it.
        """
        pool.cluster.create(self._collection(pool), self._document(pool, name))

    def pod_template(self, pool: PodPool, name: str) -> Object:
        """Return the pod template of an object."""
        pod = pool.injected(pool.plain_pod(name, self.order), self.order)
        spec = copy.deepcopy(pod["spec"])
        spec["restartPolicy"] = "Never" if self.kind == "Job" else "Always"
        metadata = pod["metadata"]
        return {
            "metadata": {
                "annotations": dict(metadata.get("annotations") or {}),
                "labels": {**(metadata.get("labels") or {}), LABEL: name},
            },
            "spec": spec,
        }

    def _collection(self, pool: PodPool) -> str:
        group, collection = _COLLECTIONS[self.kind]
        return f"{group}/namespaces/{pool.namespace}/{collection}"

    def _document(self, pool: PodPool, name: str) -> Object:
        selector = {} if self.kind == "Job" else {"selector": {"matchLabels": {LABEL: name}}}
        more: dict[str, Object] = {
            "Deployment": {"replicas": 1},
            "StatefulSet": {"replicas": 1, "serviceName": name},
            "Job": {"backoffLimit": 0},
        }
        return {
            "apiVersion": _COLLECTIONS[self.kind][0].removeprefix("/apis/"),
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": {
                "template": self.pod_template(pool, name),
                **selector,
                **more.get(self.kind, {}),
            },
        }


class WorkloadObjects:
    """Makes objects that have a pod template.

    Args:
        pool: Makes the pods.
    """

    def __init__(self, pool: PodPool) -> None:
        self._pool = pool
        self._spare: dict[tuple[str, str], deque[str]] = defaultdict(deque)

    def make(self, templates: Iterable[Template]) -> None:
        """Create objects for :meth:`take`, and wait until their pods exist, but not until they run.

        An object that cannot be created now is tried again when a check takes it; the check then
        gets the error.
        """
        made = []
        for template in templates:
            with suppress(FsmRedirError):
                name = self._made(template)
                self._spare[template.key].append(name)
                made.append(name)
        for name in made:
            # A webhook uses the lists in force when the controller creates the pod, so wait here.
            with suppress(FsmRedirError):
                eventually(partial(self.pods, name), POD_OF_WORKLOAD_S, f"a pod of {name}")

    def take(self, template: Template) -> str:
        """Return the name of an unused object: a spare one, or a new one.

        Raises:
            ApiError: The object cannot be created.
        """
        spare = self._spare[template.key]
        return spare.popleft() if spare else self._made(template)

    def pods(self, name: str) -> list[Object]:
        """Return the pods of an object, without those that are being deleted."""
        path = f"/api/v1/namespaces/{self._pool.namespace}/pods"
        found = self._pool.cluster.get(path, labelSelector=f"{LABEL}={name}")["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def _made(self, template: Template) -> str:
        name = self._pool.name(template.kind.lower())
        template.create(self._pool, name)
        return name
