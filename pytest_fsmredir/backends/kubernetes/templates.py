"""Objects whose template makes one pod: made with the other pods of a run, taken by its checks."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pytest_fsmredir.backends.kubernetes.client import Object
from pytest_fsmredir.backends.kubernetes.fleet import Fleet, Order
from pytest_fsmredir.backends.kubernetes.waiting import eventually
from pytest_fsmredir.errors import FsmRedirError

POD_OF_WORKLOAD_S = 60.0
"""How long a controller may take to make a pod of its template."""

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
    """An object that is wanted.

    Attributes:
        kind: Its kind: ``Deployment``, ``StatefulSet``, ``DaemonSet`` or ``Job``.
        order: What its pod is.
    """

    kind: str
    order: Order

    @property
    def key(self) -> tuple[str, str]:
        """The same for equal templates."""
        return self.kind, self.order.key

    def path(self, fleet: Fleet, name: str) -> str:
        """Return where an object is in the API."""
        return f"{self._collection(fleet)}/{name}"

    def create(self, fleet: Fleet, name: str) -> None:
        """Make an object of that name, whose pods get the lists in force.

        Raises:
            ApiError: The cluster refuses it.
        """
        fleet.cluster.create(self._collection(fleet), self._document(fleet, name))

    def pod_template(self, fleet: Fleet, name: str) -> Object:
        """Return what its controller makes pods of."""
        pod = fleet.injected(fleet.plain_pod(name, self.order), self.order)
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

    def _collection(self, fleet: Fleet) -> str:
        group, collection = _COLLECTIONS[self.kind]
        return f"{group}/namespaces/{fleet.namespace}/{collection}"

    def _document(self, fleet: Fleet, name: str) -> Object:
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
                "template": self.pod_template(fleet, name),
                **selector,
                **more.get(self.kind, {}),
            },
        }


class Workshop:
    """Makes objects of templates.

    Args:
        fleet: Makes pods.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._spare: dict[tuple[str, str], deque[str]] = defaultdict(deque)

    def make(self, templates: Iterable[Template]) -> None:
        """Have objects ready for :meth:`take`; their pods exist then, but are not awaited.

        What cannot be made now is tried again when a check wants it, which then learns why not.
        """
        made = []
        for template in templates:
            with suppress(FsmRedirError):
                name = self._made(template)
                self._spare[template.key].append(name)
                made.append(name)
        for name in made:
            # A webhook gives a pod the lists that are in force when its controller makes it.
            with suppress(FsmRedirError):
                eventually(partial(self.pods, name), POD_OF_WORKLOAD_S, f"a pod of {name}")

    def take(self, template: Template) -> str:
        """Return the name of an object that nobody has: a spare one, or one made now.

        Raises:
            ApiError: It cannot be made.
        """
        spare = self._spare[template.key]
        return spare.popleft() if spare else self._made(template)

    def pods(self, name: str) -> list[Object]:
        """Return the pods of an object, but those that are on their way out."""
        path = f"/api/v1/namespaces/{self._fleet.namespace}/pods"
        found = self._fleet.cluster.get(path, labelSelector=f"{LABEL}={name}")["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def _made(self, template: Template) -> str:
        name = self._fleet.name(template.kind.lower())
        template.create(self._fleet, name)
        return name
