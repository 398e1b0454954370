"""What webhook mode makes of the answers of an API server; needs no cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import ourselves
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import OWNER, MeshScope
from pytest_fsmredir.backends.kubernetes.pods.pool import Order, PodPool
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
    """An API server that answers every new pod the same way, and knows one MeshConfig."""

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


def fleet_on(api: Api) -> PodPool:
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
    """Catches: a refusal of FSM, whose answer lacks the uid, taken for a broken webhook."""
    pool = fleet_on(Api(refused(NO_UID)))
    (site,) = pool.make([order()])
    pool.close()

    assert repr(site.programming) == f"refused: at admission: {REASON}"


def test_denial_by_the_webhook_is_a_refusal() -> None:
    """Catches: a refusal with a proper reason."""
    denied = f'admission webhook "fsm-inject.k8s.io" denied the request: {REASON}'
    pool = fleet_on(Api(refused(denied, 400)))
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
def test_trouble_of_the_cluster_is_no_refusal(said: ApiError, told: str) -> None:
    """Catches: an implementation that is blamed for a quota, a missing right or a dead webhook."""
    pool = fleet_on(Api(said))
    try:
        with pytest.raises(BackendError, match=told):
            pool.make([order()])
    finally:
        pool.close()


def test_lists_are_set_once_for_all_pods_that_want_them() -> None:
    """Catches: a pod that is made with another pod's lists."""
    api = Api()
    pool = fleet_on(api)
    one, two = order(outboundPortExclusionList=[1]), order(outboundPortExclusionList=[2])
    pool.make([one, two, one, order(), two])
    pool.close()

    assert api.lists_at_creation == [[1], [1], [2], [2], []]
    assert api.traffic == LISTS
    assert api.annotations == {}


def test_lists_are_put_back_after_an_interruption() -> None:
    """Catches: a mesh that keeps a run's lists because somebody pressed Ctrl-C."""
    api = Api(KeyboardInterrupt())
    pool = fleet_on(api)
    with pytest.raises(KeyboardInterrupt):
        pool.make([order(outboundPortExclusionList=[1])])
    pool.close()

    assert api.traffic == LISTS
    assert api.annotations == {}


def test_lists_of_a_killed_run_are_put_back_without_another_run() -> None:
    """Catches: a live mesh that keeps a killed run's lists until somebody starts another run."""
    api = Api()
    scope = MeshScope(cast("Cluster", api), "fsm-system", "fsm-mesh-config")
    assert not scope.put_back()
    scope.take()
    scope.set({"outboundPortExclusionList": [1]})
    assert not scope.put_back()  # this run goes on

    api.annotations[OWNER] = ourselves().rpartition("/")[0] + "/4194305"  # no such process
    assert scope.put_back()
    assert (api.traffic, api.annotations) == (LISTS, {})


def test_mesh_that_redirects_on_nodes_is_named_before_any_pod_is_made() -> None:
    """Catches: 200 failures of a mesh in NodeLevel mode, none of which names the mode."""
    api = Api()
    api.traffic["interceptionMode"] = "NodeLevel"
    with pytest.raises(PreflightError, match=r"has interceptionMode NodeLevel: .*no sidecar"):
        fleet_on(api)

    assert api.lists_at_creation == []
    assert api.annotations == {}


def test_mesh_that_only_labels_pods_is_noticed() -> None:
    """Catches: a label taken for a sidecar, as FSM gives one in each of its modes."""
    pool = fleet_on(Api(injects=False, labels={"fsm-proxy-uuid": "1"}))
    with pytest.raises(BackendError, match="no sidecar and no init container into any of 1 pods"):
        pool.make([order()])
    pool.close()


def test_lists_that_are_set_aside_are_said() -> None:
    """Catches: a mesh that captures nothing by its own lists, and a verdict that is clean."""
    webhook = WebhookInjection(cast("Cluster", Api()), Images(pod="pod:1"))
    assert (webhook.remarks, webhook.installed) == ((), {})
    webhook.begin("run-1")

    (remark,) = webhook.remarks
    assert "MeshConfig fsm-mesh-config in fsm-system: its own lists are set aside" in remark
    assert "outboundPortExclusionList [8080]; KUBE-030 alone" in remark
    assert webhook.installed == {"outboundPortExclusionList": [8080]}
    assert "KUBE-030" in catalogue.load()


def test_mesh_that_does_nothing_is_noticed() -> None:
    """Catches: pods that nobody programmed, judged as if a mesh had."""
    pool = fleet_on(Api(injects=False))
    with pytest.raises(BackendError, match="no sidecar and no init container into any of 2"):
        pool.make([order(), order()])
    pool.close()
