"""Judge pods of any image: the agent is streamed into an ephemeral container."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.outcomes import Outcome

if TYPE_CHECKING:
    from tests.kube.conftest import Judge

pytestmark = pytest.mark.kube

FORWARDER = Path(__file__).with_name("forwarder.py").read_text()
CHECKS = (
    "CFG-012", "CT-001", "IN-001", "IN-002", "IN-004", "IPX-001", "LO-001", "LO-002", "OPX-001",
    "OUT-001", "OUT-002", "OUT-013", "OUT-014", "PROTO-001", "PROTO-002", "PROTO-004", "RES-002",
    "RES-004", "RES-008", "UID-001", "UID-005", "UID-006",
)  # fmt: skip


@pytest.fixture
def foreign_pods(judge: Judge, pause: str) -> Judge:
    """Pods with a foreign application image and a foreign sidecar."""
    command = ["python3", "-I", "-S", "-c", FORWARDER]
    sidecar = {"imagePullPolicy": "IfNotPresent", "command": command}
    return replace(judge, sidecar=sidecar, app=pause, agent_in=AgentIn.EPHEMERAL)


def test_pods_of_any_image_can_be_judged(foreign_pods: Judge) -> None:
    """Catches: the agent needs Python, a volume or a user in the application's image."""
    rows = foreign_pods.rows(Reference(), *CHECKS)

    found = {row.check: (row.outcome, row.seen or row.reason) for row in rows.values()}
    assert found == dict.fromkeys(CHECKS, (Outcome.PASS, ""))


def test_missing_redirection_is_seen(foreign_pods: Judge) -> None:
    """Catches: the ephemeral agent sees the sidecar accept every flow, or no flow."""
    rows = foreign_pods.rows(
        InitCommand("true"), "OUT-001", "IN-001", "UID-001", "RES-008", "OPX-001"
    )

    assert {row.outcome for row in rows.values()} == {Outcome.FAIL}, rows
