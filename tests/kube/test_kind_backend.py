"""Run checks of the catalogue in real pods of a kind cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.outcomes import Outcome

if TYPE_CHECKING:
    from tests.kube.conftest import Judge

pytestmark = pytest.mark.kube

CHECKS = (
    "OUT-001", "OUT-002", "OUT-003", "OUT-016", "OUT-017", "IN-001", "IN-002", "IN-003",
    "UID-001", "UID-002", "UID-005", "UID-006", "RES-001", "RES-002", "RES-008", "RES-009",
    "OPX-001", "IPX-001", "PROTO-001", "CT-001",
)  # fmt: skip
"""Interception, bypass, the sidecar's own traffic and reserved ports, end to end."""


def test_reference_passes_in_real_pods(judge: Judge) -> None:
    """Catches: the backend, the injection or the reference works only in bare namespaces."""
    rows = judge.rows(Reference(), *CHECKS)

    assert {row.check: row.outcome for row in rows.values()} == dict.fromkeys(CHECKS, Outcome.PASS)


def test_pods_without_rules_fail(judge: Judge) -> None:
    """Catches: every implementation passes on this backend."""
    rows = judge.rows(InitCommand("true"), "OUT-001", "IN-001", "UID-001", "RES-008", "OPX-001")

    assert {row.outcome for row in rows.values()} == {Outcome.FAIL}, rows


def test_init_container_that_fails_is_a_refusal(judge: Judge) -> None:
    """Catches: a refusal counts as a broken cluster, or its reason is lost."""
    programming = judge.programming(InitCommand("echo no such table >&2; exit 3"))

    assert repr(programming) == "refused: the init container exited 3: no such table"


def test_contract_reaches_the_init_container(judge: Judge) -> None:
    """Catches: lists, addresses or documents differ from those of the other backends."""
    variables = 'echo "$POD_IP|$FSM_OUTBOUND_PORT_EXCLUSION_LIST|$FSM_IPTABLES|$PWD|$(id -u)"'
    rest = 'head -c 60 "$FSM_POD"; iptables --version; exit 1'

    reason = judge.programming(
        InitCommand(f"({variables}; {rest}) >&2"),
        {"flomesh.io/outbound-port-exclusion-list": "6379, 7070"},
        {"outboundPortExclusionList": [80]},
    ).reason

    assert "|80,6379,7070|nft|/tmp/" in reason
    assert "|0 | " in reason
    assert '"kind": "Pod"' in reason
    assert "(nf_tables)" in reason
