"""Webhook mode against a simulated API server; needs no cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import ourselves
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import OWNER, MeshScope
from pytest_fsmredir.backends.kubernetes.pods.orders import Order
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.backends.kubernetes.pods.webhook import WebhookInjection
from pytest_fsmredir.errors import BackendError, PreflightError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.suite import catalogue

CALLED = 'Internal error occurred: failed calling webhook "fsm-inject.k8s.io": '
NO_UID = f'{CALLED}received invalid webhook response: expected response.uid="9a", got ""'
DOWN = (
    f'{CALLED}failed to call webhook: Post "https://fsm-injector.fsm-system.svc:9090/'
    'mutate-pod-creation?timeout=20s": dial tcp 10.96.7.7:9090: connect: connection refused'
)
REASON = "Invalid port value '0' specified for annotation 'flomesh.io/inbound-port-exclusion-list'"
LISTS = {"outboundPortExclusionList": [8080], "enableEgress": True}


class Api:
    """An API server with one MeshConfig and the same response to every new pod."""

    def __init__(
        self,
        said: ApiError | BaseException | None = None,
        *,
        injects: bool = True,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.said, self.injects, self.labels = said, injects, labels or {}
        self.annotations: dict[str, str] = {}
        self.traffic: dict[str, Any] = dict(LISTS)
        self.lists_at_creation: list[list[int]] = []
        self.lines = ['{"level":"info","message":"started"}']

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if "meshconfigs" in path:
            metadata = {"annotations": dict(self.annotations), "resourceVersion": "1"}
            return {"metadata": metadata, "spec": {"traffic": dict(self.traffic)}}
        return {"items": [{"metadata": {"name": "fsm-injector-0"}}]}

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "meshconfigs" in path:
            notes = body.get("metadata", {}).get("annotations", {})
            self.annotations = {k: v for k, v in {**self.annotations, **notes}.items() if v}
            changed = {**self.traffic, **body.get("spec", {}).get("traffic", {})}
            self.traffic = {key: value for key, value in changed.items() if value is not None}
        return {}

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.lists_at_creation.append(self.traffic["outboundPortExclusionList"])
        if self.said is not None:
            self.lines.append(f'{{"level":"error","error":"{REASON}"}}')
            raise self.said
        inits = [{"name": "fsm-init"}] if self.injects else []
        metadata = {**body["metadata"], "labels": {**body["metadata"]["labels"], **self.labels}}
        return {"metadata": metadata, "spec": {**body["spec"], "initContainers": inits}}

    def log(self, namespace: str, pod: str, container: str) -> str:
        return "\n".join(self.lines)


def pool_on(api: Api) -> PodPool:
    cluster, images = cast("Cluster", api), Images(pod="pod:1")
    return PodPool(
        cluster,
        "run-1",
        images,
        WebhookInjection(cluster, images),
        init_timeout_s=30.0,
        acceptance_log=AcceptanceLog(),
        timeout_s=5.0,
    )


def order(**traffic: list[object]) -> Order:
    return Order(Configuration({}, traffic), IptablesVariant.NFT)


def refused(text: str, status: int = 500) -> ApiError:
    return ApiError("POST /api/v1/namespaces/run-1/pods", status, text)


def test_reason_of_fsm_is_in_the_injectors_log() -> None:
    """Catches: a refusal by FSM, which lacks the request's uid, counts as a broken webhook."""
    pool = pool_on(Api(refused(NO_UID)))
    (site,) = pool.make([order()])
    pool.close()

    assert repr(site.programming) == f"refused: at admission: {REASON}"


def test_denial_by_the_webhook_is_a_refusal() -> None:
    """Catches: a denial with a reason does not count as a refusal."""
    denied = f'admission webhook "fsm-inject.k8s.io" denied the request: {REASON}'
    pool = pool_on(Api(refused(denied, 400)))
    (site,) = pool.make([order()])
    pool.close()

    assert repr(site.programming) == f"refused: at admission: {REASON}"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (refused(DOWN), "the mesh's webhook does not answer: .*connection refused"),
        (refused("exceeded quota: compute", 403), "exceeded quota"),
        (refused('pods is forbidden: User "x" cannot create', 403), "forbidden"),
        (refused('admission webhook "policy.k8s.io" denied the request: no', 400), "policy"),
        (ApiError("POST", 0, "ConnectionError: refused"), "ConnectionError"),
    ],
)
def test_fault_of_the_cluster_is_not_a_refusal(said: ApiError, told: str) -> None:
    """Catches: a quota, a missing right or a dead webhook counts as a refusal."""
    pool = pool_on(Api(said))
    try:
        with pytest.raises(BackendError, match=told):
            pool.make([order()])
    finally:
        pool.close()


def test_lists_are_set_once_for_all_pods_that_want_them() -> None:
    """Catches: a pod is made with another pod's lists."""
    api = Api()
    pool = pool_on(api)
    one, two = order(outboundPortExclusionList=[1]), order(outboundPortExclusionList=[2])
    pool.make([one, two, one, order(), two])
    pool.close()

    assert api.lists_at_creation == [[1], [1], [2], [2], []]
    assert api.traffic == LISTS
    assert api.annotations == {}


def test_lists_are_put_back_after_an_interruption() -> None:
    """Catches: the mesh keeps a run's lists after Ctrl-C."""
    api = Api(KeyboardInterrupt())
    pool = pool_on(api)
    with pytest.raises(KeyboardInterrupt):
        pool.make([order(outboundPortExclusionList=[1])])
    pool.close()

    assert api.traffic == LISTS
    assert api.annotations == {}


def test_lists_of_a_killed_run_are_put_back_without_another_run() -> None:
    """Catches: the mesh keeps the lists of a killed run until the next run."""
    api = Api()
    scope = MeshScope(cast("Cluster", api), "fsm-system", "fsm-mesh-config")
    assert not scope.put_back()
    scope.take()
    scope.set({"outboundPortExclusionList": [1]})
    assert not scope.put_back()  # this run still runs

    api.annotations[OWNER] = ourselves().rpartition("/")[0] + "/4194305"  # no such process
    assert scope.put_back()
    assert (api.traffic, api.annotations) == (LISTS, {})


def test_mesh_that_redirects_on_nodes_is_named_before_any_pod_is_made() -> None:
    """Catches: a mesh in NodeLevel mode gives 200 failures, and none names the mode."""
    api = Api()
    api.traffic["interceptionMode"] = "NodeLevel"
    with pytest.raises(PreflightError, match=r"has interceptionMode NodeLevel: .*no sidecar"):
        pool_on(api)

    assert api.lists_at_creation == []
    assert api.annotations == {}


def test_mesh_that_only_labels_pods_is_noticed() -> None:
    """Catches: a label counts as an injection, although FSM labels pods in each mode."""
    pool = pool_on(Api(injects=False, labels={"fsm-proxy-uuid": "1"}))
    with pytest.raises(BackendError, match="no sidecar and no init container into any of 1 pods"):
        pool.make([order()])
    pool.close()


def test_replaced_lists_are_reported() -> None:
    """Catches: the verdict does not mention that the mesh's own lists were replaced."""
    webhook = WebhookInjection(cast("Cluster", Api()), Images(pod="pod:1"))
    assert (webhook.remarks, webhook.installed) == ((), {})
    webhook.begin("run-1")

    (remark,) = webhook.remarks
    assert "MeshConfig fsm-mesh-config in fsm-system: its own lists are set aside" in remark
    assert "outboundPortExclusionList [8080]; KUBE-030 alone" in remark
    assert webhook.installed == {"outboundPortExclusionList": [8080]}
    assert "KUBE-030" in catalogue.load()


def test_mesh_that_does_nothing_is_noticed() -> None:
    """Catches: pods without injection are judged as pods of the mesh."""
    pool = pool_on(Api(injects=False))
    with pytest.raises(BackendError, match="no sidecar and no init container into any of 2"):
        pool.make([order(), order()])
    pool.close()
