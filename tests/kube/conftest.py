"""Provide a real kind cluster for the tests of this folder; skip them where none can be made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import (
    KindOptions,
    image_in_nodes,
    kind_site,
    preflight,
)
from pytest_fsmredir.backends.kubernetes.kind_backend import KindBackend, kind_cluster_context
from pytest_fsmredir.backends.kubernetes.pods.images import mesh_image, pod_image
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject, by_hand
from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn, Images
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import FsmRedirError, PreflightError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.outcomes import Row, Variant
from pytest_fsmredir.reference_mesh.install import install, remove
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.deciding import decide

NFT = IptablesVariant.NFT
VARIANT = Variant("kind", NFT.value, 4)
TIMEOUT_S = 5.0


def _unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in an environment that is set up for clusters."""
    if os.environ.get("FSM_TEST_KIND") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kind_options(pytestconfig: pytest.Config) -> KindOptions:
    """The options of pytest-kind."""
    pytest.importorskip("pytest_kind", reason="needs pytest-kind")
    given = pytestconfig.getoption("kubeconfig")
    options = KindOptions(
        name=pytestconfig.getoption("cluster_name"),
        keep=pytestconfig.getoption("keep_cluster"),
        image=pytestconfig.getoption("kind_image") or "",
        kind=pytestconfig.getoption("kind_bin") or "",
        kubectl=pytestconfig.getoption("kind_kubectl_bin") or "",
        kubeconfig=Path(given) if given else None,
    )
    try:
        preflight(options)
        pod_image(os.environ.get("FSM_POD_IMAGE", ""))
    except PreflightError as error:
        _unavailable(str(error))
    return options


@pytest.fixture(scope="session")
def kind(kind_options: KindOptions) -> Iterator[KindOptions]:
    """A cluster that lives as long as the session, so that each backend finds it running."""
    try:
        with kind_site(kind_options):
            yield kind_options
    except FsmRedirError as error:
        _unavailable(str(error))


@dataclass
class Judge:
    """Runs checks of the catalogue on the session's cluster, as a conformance run does.

    Attributes:
        options: The options of pytest-kind.
        sidecar: Fields of the container of a foreign sidecar; empty for ours.
        app: Image of the application; empty for an application that does nothing.
        agent_in: The kind of container that runs the agents.
    """

    options: KindOptions
    sidecar: Mapping[str, object] = field(default_factory=dict)
    app: str = ""
    agent_in: AgentIn = AgentIn.CONTAINER

    def rows(self, implementation: Implementation, *ids: str) -> dict[str, Row]:
        """Return the rows of some checks, by id."""
        return self.rows_of(by_hand(implementation), *ids)

    def rows_of(self, inject: Inject, *ids: str) -> dict[str, Row]:
        """Return the rows of some checks on pods of an injection, by id."""
        checks = [catalogue.load()[check_id] for check_id in ids]
        with self.backend(inject) as backend:
            backend.prepare(Wanted(check.function, 4, NFT) for check in checks)
            return {check.id: _row(backend, check) for check in checks}

    def programming(
        self,
        implementation: Implementation,
        annotations: dict[str, str] | None = None,
        mesh_config: dict[str, list[object]] | None = None,
    ) -> Programming:
        """Program one pod, and return the result."""
        with self.backend(by_hand(implementation)) as backend:
            mesh = backend.mesh(4, NFT, exhaustive=False)
            return mesh.try_pod(annotations=annotations, mesh_config=mesh_config)

    @contextmanager
    def backend(self, inject: Inject) -> Iterator[KindBackend]:
        """Provide a backend for the block."""
        cluster_context = kind_cluster_context(self.options, self._images)
        backend = KindBackend(inject, cluster_context, timeout_s=TIMEOUT_S)
        with closing(backend):
            yield backend

    def _images(self) -> Images:
        pod = pod_image(os.environ.get("FSM_POD_IMAGE", ""))
        sidecar = {"image": pod, **self.sidecar} if self.sidecar else {}
        return Images(pod=pod, sidecar=sidecar, app=self.app, agent_in=self.agent_in)


@pytest.fixture(scope="session")
def cluster(kind: KindOptions) -> Iterator[Cluster]:
    """The API of the session's cluster."""
    with kind_site(replace(kind, keep=True)) as site:
        yield site.cluster


@pytest.fixture
def pause(cluster: Cluster) -> str:
    """An image without Python and without a shell: the one that holds a pod's sandbox."""
    (node, *_) = cluster.get("/api/v1/nodes")["items"]
    names = [name for image in node["status"]["images"] for name in image.get("names", ())]
    found = [name for name in names if "/pause:" in name]
    if not found:
        pytest.skip("the node does not say which image holds its sandboxes")
    return str(found[0])


@pytest.fixture(scope="session")
def mesh_image_ref(kind: KindOptions) -> str:
    """The image of the reference mesh, loaded into the nodes of the session's cluster."""
    with kind_site(replace(kind, keep=True)) as site:
        image = mesh_image(os.environ.get("FSM_MESH_IMAGE", ""))
        image_in_nodes(site, image)
    return image


@pytest.fixture(scope="session")
def reference_mesh(cluster: Cluster, mesh_image_ref: str) -> Iterator[Cluster]:
    """The cluster with the reference mesh installed."""
    install(cluster, mesh_image_ref, {}, lambda _: None)
    yield cluster
    remove(cluster, lambda _: None)


@pytest.fixture
def judge(kind: KindOptions) -> Judge:
    """Runs checks in real pods."""
    return Judge(kind)


def _row(backend: KindBackend, check: Check) -> Row:
    mesh = backend.mesh(4, NFT, exhaustive=False)
    try:
        return decide(check, VARIANT, mesh).row
    finally:
        mesh.close()
