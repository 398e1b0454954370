"""Judging pods that hold nothing of ours: the agent is streamed into an ephemeral container."""

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
def guest(judge: Judge, pause: str) -> Judge:
    """Pods of an application's image of its own and a stranger's sidecar; our agent is a guest."""
    command = ["python3", "-I", "-S", "-c", FORWARDER]
    sidecar = {"imagePullPolicy": "IfNotPresent", "command": command}
    return replace(judge, sidecar=sidecar, app=pause, agent_in=AgentIn.EPHEMERAL)


def test_pods_of_any_image_can_be_judged(guest: Judge) -> None:
    """Catches: an agent that needs Python, a volume or a user in the application's image."""
    rows = guest.rows(Reference(), *CHECKS)

    found = {row.check: (row.outcome, row.seen or row.reason) for row in rows.values()}
    assert found == dict.fromkeys(CHECKS, (Outcome.PASS, ""))


def test_guest_sees_missing_redirection(guest: Judge) -> None:
    """Catches: a guest that sees the sidecar everywhere, or nothing at all."""
    rows = guest.rows(InitCommand("true"), "OUT-001", "IN-001", "UID-001", "RES-008", "OPX-001")

    assert {row.outcome for row in rows.values()} == {Outcome.FAIL}, rows
