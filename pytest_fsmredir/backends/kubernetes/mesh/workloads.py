"""Use a cluster like its users, for checks: workloads, Services, probes and DNS names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import Object
from pytest_fsmredir.backends.kubernetes.cluster.waiting import eventually
from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.places import KubePlace
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.backends.kubernetes.pods.applications import (
    FIRST,
    first_flow_container,
)
from pytest_fsmredir.backends.kubernetes.pods.kubelet import Kubelet, case_of
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.probed_pods import ProbedPod
from pytest_fsmredir.backends.kubernetes.pods.workload_objects import (
    LABEL,
    POD_OF_WORKLOAD_S,
    Template,
)
from pytest_fsmredir.backends.workloads import (
    Probe,
    ProbeBy,
    ProbeResult,
    Workload,
    Workloads,
)
from pytest_fsmredir.errors import BackendError, DeadlineError
from pytest_fsmredir.model.claims import Statement, Unmet
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Fate, Flow
from pytest_fsmredir.traffic.wire import from_banner

SERVICE_S = 30.0
"""Seconds until a new Service has an endpoint, a DNS name, and rules on the node."""

_REACH_S = 0.5
"""Seconds that one attempt may take: until a node knows a Service, packets to it get lost."""

_DISCOVERY = "/apis/discovery.k8s.io/v1"


class KubeWorkload(Workload):
    """An object with a template for one pod, such as a Deployment.

    Args:
        owner: The workloads of the check.
        template: Kind and pod template of the object.
        name: Name of the object.
    """

    def __init__(self, owner: KubeWorkloads, template: Template, name: str) -> None:
        self._owner, self._template, self._name = owner, template, name
        self._restarts = count(1)
        self._pod: KubePod | None = None
        self._had: set[str] = set()

    @property
    def path(self) -> str:
        """Path of the object in the API."""
        return self._template.path(self._owner.pool, self._name)

    @property
    def pod(self) -> KubePod:
        """The current pod of the object."""
        if self._pod is None:
            self._pod = self._newest()
        return self._pod

    def restart(self, *, annotations: Mapping[str, str] | None = None) -> Pod:
        """Replace the pod as ``kubectl rollout restart`` does, and return the new pod."""
        pool = self._owner.pool
        replaced = self.pod
        before = self._template.order.configuration.annotations
        order = self._owner.order(before if annotations is None else annotations)
        self._template = Template(self._template.kind, order)
        template = self._template.pod_template(pool, self._name)
        marks = {"kubectl.kubernetes.io/restartedAt": str(next(self._restarts))}
        metadata = template["metadata"]
        dropped = dict.fromkeys(before, None)
        metadata["annotations"] = {**dropped, **metadata["annotations"], **marks}
        self._owner.in_force()
        self._owner.mesh.dismiss(replaced)
        pool.cluster.patch(self.path, {"spec": {"template": template}})
        self._pod = self._newest()
        return self._pod

    def _newest(self) -> KubePod:
        """Wait for the pod that the controller makes from the current template."""

        def look() -> Object | None:
            found = [pod["metadata"] for pod in self._owner.workload_objects.pods(self._name)]
            # A Deployment keeps the old pod until the new one is ready.
            return next((each for each in found if each["uid"] not in self._had), None)

        metadata = eventually(look, POD_OF_WORKLOAD_S, f"{self._name} to make a pod")
        self._had.add(metadata["uid"])
        (site,) = self._owner.pool.adopt([metadata["name"]], self._template.order)
        return self._owner.mesh.adopt(site)


class KubeWorkloads(Workloads):
    """What a user of the cluster can do; objects are removed at the end of the check.

    Args:
        mesh: The mesh of the check.
    """

    def __init__(self, mesh: KubeMesh) -> None:
        self.mesh, backend = mesh, mesh.backend
        self.pool, self.workload_objects = backend.pool, backend.workload_objects
        self._probed_pods = backend.probed_pods
        self._lists: Mapping[str, Sequence[object]] = {}

    def workload(self, kind: str, *, annotations: Mapping[str, str] | None = None) -> KubeWorkload:
        """Make a ``Deployment``, ``StatefulSet``, ``DaemonSet`` or ``Job`` of one pod."""
        template = Template(kind, self.order(annotations or {}))
        self.in_force()
        made = KubeWorkload(self, template, self.workload_objects.take(template))
        self.mesh.undo.callback(self.pool.cluster.delete, made.path, propagationPolicy="Background")
        return made

    def installed_lists(self) -> Configuration:
        """Return the lists that the mesh is configured with when no run has set them aside."""
        return Configuration({}, self.pool.installed)

    def annotate(self, pod: Pod, annotations: Mapping[str, str]) -> None:
        """Change the annotations of a running pod."""
        body = {"metadata": {"annotations": dict(annotations)}}
        self.pool.cluster.patch(self._path("pods", _site(pod).name), body)

    @contextmanager
    def mesh_config(self, lists: Mapping[str, Sequence[object]]) -> Iterator[None]:
        """Set lists in the MeshConfig for the block."""
        before, self._lists = self._lists, lists
        try:
            self.in_force()
            yield
        finally:
            self._lists = before
            self.in_force()

    def host_network_pod(self) -> Place:
        """Make a host-network pod in the mesh's namespace."""
        order = self.order({})
        name = self.pool.name("host-network")
        pod = self.pool.plain_pod(name, order)
        pod["spec"]["hostNetwork"] = True
        return self.mesh.outside(self._made(pod, order))

    def first_flow(self, to: Place, port: int) -> Fate:
        """Make a pod whose application dials first of all, and return the fate of the flow."""
        destination = Address(to.address, port)
        to.listen(port)
        order = self.order({})
        name = self.pool.name("first-flow")
        pod = self.pool.plain_pod(name, order)
        image, timeout_s = self.pool.images.pod, self.mesh.timeout_s
        pod["spec"]["containers"] = [first_flow_container(image, destination, timeout_s)]
        self.in_force()
        self.pool.create(self.pool.injected(pod, order))
        self.mesh.undo.callback(self.pool.cluster.delete, self._path("pods", name))
        self.mesh.observed += 1
        report = json.loads(
            eventually(
                lambda: self._first_line(name), POD_OF_WORKLOAD_S, f"{name} to send its first flow"
            )
        )
        flow = Flow(Direction.OUTBOUND, destination, uid=1000)
        return _fate(flow, report)

    def probe(self, probe: Probe, by: ProbeBy, *, alive: bool) -> ProbeResult:
        """Return the result of the kubelet's probe of an application, which answers if alive."""
        probed_pod = ProbedPod(self.order({}), case_of(probe, by, alive=alive))
        self.in_force()
        site = self._probed_pods.site(probed_pod)
        kubelet = Kubelet(self.pool.cluster, self.pool.namespace, site.name)
        passed, said = kubelet.verdict(probe, alive=alive)
        self.mesh.observed += 1
        return ProbeResult(probe, by, alive, passed, self.mesh.adopt(site), said)

    def service(self, pod: Pod, port: int, *, headless: bool = False) -> str:
        """Make a Service of one pod, and return its name in the cluster's DNS."""
        name = self.pool.name("service")
        cluster, labels = self.pool.cluster, {LABEL: name}
        cluster.patch(self._path("pods", _site(pod).name), {"metadata": {"labels": labels}})
        spec: Object = {"selector": labels, "ports": [{"port": port}]}
        if headless:
            spec["clusterIP"] = "None"
        document = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec,
        }  # fmt: skip
        made = cluster.create(self._path("services"), document)
        self.mesh.undo.callback(cluster.delete, self._path("services", name))
        pod.listen(port)
        # Resolvers cache for seconds that a name does not exist, so do not ask for it too early.
        eventually(lambda: self._has_endpoints(name), SERVICE_S, f"endpoints of {name}")
        if not headless:
            address = made["spec"]["clusterIP"]
            eventually(lambda: self._leads_on(address, port), SERVICE_S, f"a way to {name}")
            self.mesh.fetch()  # skip acceptances of these attempts: they are not flows of the check
        return f"{name}.{self.pool.namespace}.svc"

    def resolve(self, pod: Pod, name: str) -> tuple[str, ...]:
        """Ask the cluster's DNS by UDP, from inside a pod, and return the addresses.

        Raises:
            Unmet: The DNS answers outside the mesh but not in the pod.
            DeadlineError: The DNS answers in neither place: the cluster is at fault.
        """
        try:
            return self._resolved(_place(pod), name)
        except DeadlineError as error:
            outside = ", ".join(self._resolved(self.mesh.client, name))
            expected = f"the cluster's DNS to answer the pod about {name}"
            observed = f"{error}; outside the mesh it answers {outside}"
            claim = Statement(holds=False, expected=expected, observed=observed)
            raise Unmet(claim) from None

    def order(self, annotations: Mapping[str, str]) -> Order:
        """Return the order of a pod with these annotations and the lists now in force."""
        configuration = asked_for(annotations, self._lists)
        return Order(configuration, self.mesh.iptables, node=self.mesh.pods_on)

    def in_force(self) -> None:
        """Set the current lists in the mesh.

        Raises:
            Unmet: The mesh refuses them.
        """
        if refusal := self.pool.configure(self._lists):
            expected = f"the mesh to accept these lists: {dict(self._lists)}"
            claim = Statement(holds=False, expected=expected, observed=f"refused: {refusal}")
            raise Unmet(claim)

    def _resolved(self, place: KubePlace, name: str) -> tuple[str, ...]:
        self.mesh.observed += 1
        return eventually(lambda: place.resolve(name), SERVICE_S, f"the name {name}")

    def _made(self, pod: Object, order: Order) -> PooledPod:
        """Make a pod in the mesh's namespace, and return it when it is up."""
        self.in_force()
        self.pool.create(pod)
        (site,) = self.pool.adopt([pod["metadata"]["name"]], order, agents=(APP,))
        self.mesh.undo.callback(self.pool.remove, site)
        return site

    def _first_line(self, name: str) -> str:
        """Return the first line of the output of a pod's application; empty if none yet."""
        pod = self.pool.cluster.get(self._path("pods", name))
        statuses = pod["status"].get("containerStatuses", ())
        if not any(each["name"] == FIRST and "running" in each["state"] for each in statuses):
            return ""
        log = self.pool.cluster.log(self.pool.namespace, name, FIRST)
        return log.splitlines()[0] if log.endswith("\n") else ""

    def _leads_on(self, address: str, port: int) -> bool:
        # kube-proxy programs each node separately, so dial from the node of the pods.
        return self.mesh.node.reaches(address, port, within_s=_REACH_S)

    def _has_endpoints(self, service: str) -> bool:
        path = f"{_DISCOVERY}/namespaces/{self.pool.namespace}/endpointslices"
        label = f"kubernetes.io/service-name={service}"
        slices = self.pool.cluster.get(path, labelSelector=label)["items"]
        return any(each.get("endpoints") for each in slices)

    def _path(self, collection: str, name: str = "") -> str:
        path = f"/api/v1/namespaces/{self.pool.namespace}/{collection}"
        return f"{path}/{name}" if name else path


def _fate(flow: Flow, report: Mapping[str, Any]) -> Fate:
    client = Address(*report["client"]) if report["client"] else None
    path = (from_banner(report["line"].encode()),) if report["line"] else ()
    return Fate(flow, client, path, report["lost"])


def _place(place: Place) -> KubePlace:
    if not isinstance(place, KubePlace):
        raise BackendError(f"{place} is not a place of this cluster")
    return place


def _site(place: Place) -> PooledPod:
    return _place(place).site
