"""The checks of the catalogue in real pods of a kind cluster."""

from __future__ import annotations

import pytest


from pytest_fsmredir.backends.kubernetes.kind import KindOptions
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.outcomes import Outcome

pytestmark = pytest.mark.kube

CHECKS = (
    "OUT-001", "OUT-002", "OUT-003", "OUT-016", "OUT-017", "IN-001", "IN-002", "IN-003",
    "UID-001", "UID-002", "UID-005", "UID-006", "RES-001", "RES-002", "RES-008", "RES-009",
    "OPX-001", "IPX-001", "PROTO-001", "CT-001",
)  # fmt: skip
"""Interception, bypass, the sidecar's own traffic and reserved ports, end to end."""


def test_reference_passes_in_real_pods(kind: KindOptions) -> None:
    """A backend, an injection or a reference that only works in bare namespaces."""
    backend = backend_of(kind, Reference())
    try:
        rows = rows_of(backend, CHECKS)
    finally:
        backend.close()

    assert outcomes_of(rows) == dict.fromkeys(CHECKS, Outcome.PASS), rows


def test_pods_that_nobody_programmed_fail(kind: KindOptions) -> None:
    """A backend that makes every implementation look right."""
    backend = backend_of(kind, InitCommand("true"))
    try:
        rows = rows_of(backend, ("OUT-001", "IN-001", "UID-001", "RES-008", "OPX-001"))
    finally:
        backend.close()

    assert set(outcomes_of(rows).values()) == {Outcome.FAIL}, rows


def test_init_container_that_fails_is_a_refusal(kind: KindOptions) -> None:
    """A refusal that is taken for a broken cluster, or whose reason gets lost."""
    backend = backend_of(kind, InitCommand("echo no such table >&2; exit 3"))
    try:
        mesh = backend.mesh(4, NFT, exhaustive=False)
        programming = mesh.try_pod()
    finally:
        backend.close()

    assert repr(programming) == "refused: the init container exited 3: no such table"


def test_contract_reaches_the_init_container(kind: KindOptions) -> None:
    """Lists, addresses or documents that differ from those of the other backends."""
    said = 'echo "$POD_IP|$FSM_OUTBOUND_PORT_EXCLUSION_LIST|$FSM_IPTABLES|$PWD|$(id -u)"'
    files = 'head -c 60 "$FSM_POD"; iptables --version; exit 1'
    backend = backend_of(kind, InitCommand(f"({said}; {files}) >&2"))
    try:
        mesh = backend.mesh(4, NFT, exhaustive=False)
        programming = mesh.try_pod(
            annotations={"flomesh.io/outbound-port-exclusion-list": "6379, 7070"},
            mesh_config={"outboundPortExclusionList": [80]},
        )
    finally:
        backend.close()

    assert "|80,6379,7070|nft|/tmp/" in programming.reason
    assert "|0 |" in programming.reason
    assert '"kind": "Pod"' in programming.reason
    assert "(nf_tables)" in programming.reason
