"""Judge pods with a foreign sidecar, which forwards and records nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.backends.kubernetes.mesh.fates_observed import Witnessing
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.kube.test_kube_mutants import by_command

if TYPE_CHECKING:
    from tests.kube.conftest import Judge

pytestmark = pytest.mark.kube

FORWARDER = Path(__file__).with_name("forwarder.py").read_text()
CHECKS = (
    "CFG-003", "CFG-012", "CT-001", "CT-002", "CT-005", "IN-001", "IN-002", "IN-004", "IN-005",
    "IN-006", "IN-007", "IPX-001", "IPX-004", "LO-001", "LO-002", "OPX-001", "OUT-001", "OUT-002",
    "OUT-013", "PROTO-001", "PROTO-004", "RES-002", "RES-004", "RES-008", "UID-001", "UID-005",
)  # fmt: skip


@pytest.fixture
def foreign(judge: Judge) -> Judge:
    """Pods whose sidecar is a plain forwarding process of user 1500."""
    command = ["python3", "-I", "-S", "-c", FORWARDER]
    return replace(judge, sidecar={"imagePullPolicy": "IfNotPresent", "command": command})


def applicable() -> list[Check]:
    """Return every IPv4 check that runs with a foreign sidecar."""
    offers = Witnessing.offers | {Need.REMOTE_ADDRESSES}
    return [c for c in catalogue.load().checks if 4 in c.families and c.needs <= offers]


def test_foreign_sidecar_is_seen_to_accept_every_flow(foreign: Judge) -> None:
    """Catches: captured flows are recognised only if our sidecar reports them."""
    rows = foreign.rows(Reference(), *CHECKS)

    found = {row.check: (row.outcome, row.seen or row.reason) for row in rows.values()}
    assert found == dict.fromkeys(CHECKS, (Outcome.PASS, ""))


def test_pods_without_redirection_fail_by_the_witness(foreign: Judge) -> None:
    """Catches: the witness sees the sidecar in every flow, or a check ends in an error."""
    rows = foreign.rows(InitCommand("true"), *CHECKS)

    assert {row.outcome for row in rows.values()} <= {Outcome.FAIL, Outcome.WARN}, rows


def test_first_loop_stops_the_pod(foreign: Judge) -> None:
    """Catches: a sidecar that dials itself for ever makes the run exceed its timeouts."""
    looping = by_command("iptables -t nat -I OUTPUT ! -o lo -p tcp -j REDIRECT --to-ports 15001")
    checks = ("OUT-001", "OUT-013", "IN-001", "OPX-001", "OUT-002")

    rows = foreign.rows_of(looping, *checks)

    assert rows["OUT-001"].outcome is Outcome.FAIL
    assert "which loops: it passed the sidecar" in rows["OUT-001"].seen
    assert rows["OPX-001"].outcome is Outcome.FAIL  # its pod has lists, so it is a different pod
    same = [rows[check] for check in ("OUT-013", "IN-001", "OUT-002")]
    assert {row.outcome for row in same} == {Outcome.NOT_RUN}
    assert {row.reason for row in same} == {
        "its pod was stopped, because the sidecar in it dials itself, as another check says"
    }


@pytest.mark.slow
def test_whole_catalogue_by_the_witness(foreign: Judge) -> None:
    """Catches: a check that needs an answering sidecar raises a false alarm without one."""
    checks = applicable()
    rows = foreign.rows(Reference(), *(check.id for check in checks))

    levels = {check.id: check.level for check in checks}
    alarms = [
        row
        for row in rows.values()
        if row.outcome is not Outcome.PASS and levels[row.check] is not Level.INFO
    ]
    assert alarms == []
    assert len(rows) > 100
