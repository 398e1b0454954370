"""Pods that the pool makes and the cluster's mesh injects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP, agent_config_map
from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.mesh_config import ORIGINAL, OWNER, SINCE, MeshScope
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool
from pytest_fsmredir.backends.kubernetes.pods.webhook import WebhookInjection
from pytest_fsmredir.errors import BackendError, PreflightError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.reference_mesh.install import install

pytestmark = pytest.mark.kube

NFT = IptablesVariant.NFT
MESH_CONFIG = "/apis/config.flomesh.io/v1alpha3/namespaces/fsm-system/meshconfigs/fsm-mesh-config"
DEPLOYMENT = "/apis/apps/v1/namespaces/fsm-system/deployments/fsm-injector"
PORT_LIST = "outboundPortExclusionList"
PORTS = "flomesh.io/outbound-port-exclusion-list"


def order(annotations: Mapping[str, str] | None = None, **traffic: Sequence[object]) -> Order:
    return Order(Configuration(annotations or {}, traffic), NFT)


@contextmanager
def pool_in(cluster: Cluster, image: str, **mesh: str) -> Iterator[tuple[PodPool, str]]:
    """Provide a pool for the block, and the name of its namespace."""
    with ExitStack() as undo:
        namespace = undo.enter_context(
            namespaces.namespace(cluster, keep=False, config_map=agent_config_map({}))
        )
        images = Images(pod=image)
        pool = PodPool(
            cluster,
            namespace,
            images,
            WebhookInjection(cluster, images, **mesh),
            init_timeout_s=30.0,
            acceptance_log=AcceptanceLog(),
            timeout_s=5.0,
        )
        undo.callback(pool.close)
        yield pool, namespace


def traffic_of(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get(MESH_CONFIG)["spec"]["traffic"]
    return found


def list_given(cluster: Cluster, namespace: str, site: PooledPod) -> str:
    """Return the outbound port list of a pod's init container."""
    found = cluster.get(f"/api/v1/namespaces/{namespace}/pods/{site.name}")
    (init,) = [each for each in found["spec"]["initContainers"] if each["name"] == "fsm-init"]
    env = {each["name"]: each.get("value", "") for each in init["env"]}
    return str(env["FSM_OUTBOUND_PORT_EXCLUSION_LIST"])


def await_silence(cluster: Cluster, namespace: str) -> None:
    """Wait until the webhook no longer answers."""
    container = {"name": "app", "image": "none"}
    body = {"metadata": {"name": "trial"}, "spec": {"containers": [container]}}

    def said() -> str:
        try:
            cluster.create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", body)
        except ApiError as error:
            return str(error)
        return "accepted"

    Retrying(
        stop=stop_after_delay(90.0),
        wait=wait_fixed(0.2),
        retry=retry_if_result(lambda text: "failed to call webhook" not in text),
    )(said)


@pytest.fixture
def image(mesh_image_ref: str) -> str:
    """The image of the pods; the mesh's image contains all that they need."""
    return os.environ.get("FSM_POD_IMAGE") or mesh_image_ref


def test_each_pod_gets_the_lists_of_its_order(reference_mesh: Cluster, image: str) -> None:
    """Catches: mesh-wide lists reach another check's pods, or stay after the run."""
    before = traffic_of(reference_mesh)
    orders = [
        order(outboundPortExclusionList=[6379]),
        order({PORTS: "7070"}),
        order({PORTS: "7070"}, outboundPortExclusionList=[6379]),
        order(),
    ]
    with pool_in(reference_mesh, image) as (pool, namespace):
        server = pool.place("server")
        sites = pool.make(orders)
        pool.watcher.wait([server, *sites])
        given = [list_given(reference_mesh, namespace, site) for site in sites]
        listening = pool.links.of(server).ask(APP, "listen", at=["0.0.0.0", 6379])
        reports = [
            pool.links.of(site).ask(
                APP, "open", to=[server.addresses[0], 6379], dial={"uid": 1000}
            )[1]
            for site in sites
        ]
        pool.links.of(server).ask(APP, "unlisten", number=listening)
        outside = reference_mesh.get(f"/api/v1/namespaces/{namespace}/pods/server")

    # As the server saw it: a forwarded flow has another source port than the client's.
    direct = [report[0] == report[2][3] for report in reports]
    assert given == ["6379", "7070", "6379,7070", ""]
    assert direct == [True, False, True, False]
    assert [each["name"] for each in outside["spec"]["containers"]] == ["app"]
    assert traffic_of(reference_mesh) == before
    assert OWNER not in reference_mesh.get(MESH_CONFIG)["metadata"].get("annotations", {})


def test_refusals_at_admission_are_programmings(reference_mesh: Cluster, image: str) -> None:
    """Catches: a refusal ends the run like a broken cluster."""
    orders = [
        order({PORTS: "0"}),
        order({"flomesh.io/outbound-ip-range-exclusion-list": "10.0.0.1"}),
        order(inboundPortExclusionList=[70000]),
    ]
    with pool_in(reference_mesh, image) as (pool, _):
        sites = pool.make(orders)
        pool.watcher.wait(sites)
        reasons = [repr(site.programming) for site in sites]

    assert reasons[0] == f"refused: at admission: Invalid port value '0' specified for {_of(PORTS)}"
    assert "Invalid IP range '10.0.0.1'" in reasons[1]
    assert "spec.traffic.inboundPortExclusionList[0]" in reasons[2]


def test_refusal_by_the_init_container_is_a_programming(
    reference_mesh: Cluster, image: str
) -> None:
    """Catches: an invalid list that only the init container refuses counts as a fault."""
    with pool_in(reference_mesh, image) as (pool, _):
        site = pool.take(order(outboundIPRangeExclusionList=["10.0.0.0/33"]))
        pool.watcher.wait([site])

    assert repr(site.programming).startswith("refused: the init container exited 1: ")
    assert "10.0.0.0/33" in site.programming.reason


def test_webhook_that_is_down_is_not_a_refusal(
    reference_mesh: Cluster, mesh_image_ref: str, image: str
) -> None:
    """Catches: a webhook that is down counts as a refusal by the implementation."""
    before = traffic_of(reference_mesh)
    with pool_in(reference_mesh, image) as (pool, namespace):
        reference_mesh.patch(DEPLOYMENT, {"spec": {"replicas": 0}})
        try:
            await_silence(reference_mesh, namespace)
            with pytest.raises(BackendError, match="the mesh's webhook does not answer"):
                pool.make([order(outboundPortExclusionList=[6379])])
        finally:
            install(reference_mesh, mesh_image_ref, {}, lambda _: None)

    assert traffic_of(reference_mesh) == before


def test_mesh_that_injects_nothing_is_an_error(reference_mesh: Cluster, image: str) -> None:
    """Catches: a webhook that is never called looks like a mesh that captures nothing."""
    with (
        pool_in(reference_mesh, image, mesh="another") as (pool, _),
        pytest.raises(BackendError, match="no sidecar and no init container into any"),
    ):
        pool.make([order()])


def test_missing_mesh_is_reported_at_once(reference_mesh: Cluster, image: str) -> None:
    """Catches: a run reports a missing mesh only after it has made all pods."""
    with (
        pytest.raises(PreflightError, match="mesh install"),
        pool_in(reference_mesh, image, mesh_config="no-such-config"),
    ):
        pass


def test_lists_of_a_killed_run_are_put_back(reference_mesh: Cluster) -> None:
    """Catches: the lists of a killed run are taken for the user's lists."""
    killed = {
        OWNER: namespaces.ourselves().rpartition("/")[0]
        + "/4194305",  # beyond the highest process id
        SINCE: "2026-01-01T00:00:00+00:00",
        ORIGINAL: json.dumps({PORT_LIST: [8080]}),
    }
    body: dict[str, Any] = {
        "metadata": {"annotations": killed},
        "spec": {"traffic": {PORT_LIST: [1]}},
    }
    reference_mesh.patch(MESH_CONFIG, body)
    try:
        scope = MeshScope(reference_mesh, "fsm-system", "fsm-mesh-config")
        scope.take()
        scope.restore()
        restored = traffic_of(reference_mesh)[PORT_LIST]
    finally:
        notes = dict.fromkeys(killed)
        body = {"metadata": {"annotations": notes}, "spec": {"traffic": {PORT_LIST: []}}}
        reference_mesh.patch(MESH_CONFIG, body)

    assert restored == [8080]


def test_two_runs_do_not_share_the_lists(reference_mesh: Cluster) -> None:
    """Catches: two concurrent runs make pods with each other's lists."""
    first, second = (MeshScope(reference_mesh, "fsm-system", "fsm-mesh-config") for _ in range(2))
    first.take()
    try:
        with pytest.raises(BackendError, match="in use by another run"):
            second.take()
    finally:
        first.restore()
    second.take()
    second.restore()


def _of(annotation: str) -> str:
    return f"annotation '{annotation}'"
