"""Run checks of the catalogue on pods that the cluster's mesh injects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.webhook import by_webhook
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.deciding import decide

pytestmark = pytest.mark.kube

CHECKS = (
    "CFG-003", "CFG-012", "CT-001", "IN-001", "IN-002", "IN-004", "LO-001", "OPX-001", "OUT-001",
    "OUT-002", "PROTO-001", "RES-002", "RES-004", "RES-008", "SAN-001", "UID-001",
    "UID-005",
)  # fmt: skip
"""Capture, bypass, lists of both scopes, refusals, the sidecar's own traffic and reserved ports."""


@pytest.fixture
def backend(reference_mesh: Cluster, mesh_image_ref: str) -> Iterator[KubernetesBackend]:
    """A backend whose pods the mesh injects."""
    made = KubernetesBackend(
        reference_mesh,
        by_webhook("fsm", "fsm-system"),
        images=Images(pod=mesh_image_ref),
        timeout_s=5.0,
    )
    with closing(made):
        yield made


def test_reference_mesh_conforms(backend: KubernetesBackend) -> None:
    """Catches: webhook mode judges something other than the pods of the mesh."""
    checks = [catalogue.load()[check_id] for check_id in CHECKS]
    nft = IptablesVariant.NFT
    backend.prepare(Wanted(check.function, 4, nft) for check in checks)
    found = {}
    for check in checks:
        with closing(backend.mesh(4, nft, exhaustive=False)) as mesh:
            row = decide(check, Variant("kind", "webhook", 4), mesh).row
        found[check.id] = (row.outcome, row.seen or row.reason)

    assert found == dict.fromkeys(CHECKS, (Outcome.PASS, ""))
