"""One init command with dozens of narrow faults: the suite must find each kind of them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.narrow_faults import KINDS

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
CHECKS = {kind: sorted(set(mutants.values())) for kind, mutants in KINDS.items()}
EVERY_CHECK = tuple(sorted({check for checks in CHECKS.values() for check in checks}))


NAMED = (
    "-d 168.63.129.16/32 -j RETURN", "-d 169.254.20.10/32 -j RETURN", "-d 198.19.0.0/32 -j RETURN",
    "--gid-owner 101 -j RETURN", "--gid-owner 65532-65534 -j RETURN", "--mark 0x539 -j RETURN",
    "--mark 0x80000000/0x80000000 -j RETURN", "--ttl-eq 128 -j RETURN", "--ecn-tcp-cwr -j RETURN",
    "--dport 61000:65535 -j REJECT", "--sport 68 -j DROP", "--dscp 0x2e -j DSCP --set-dscp 0x00",
    "-p udp -m mark --mark 0x80/0x80 -j REJECT", "-p gre -j DROP", "--icmp-type 13 -j DROP",
)  # fmt: skip
"""Rules of the faults, in the words of ``iptables-save``, which the checks of every flow name."""


def conform(directory: Path, checks: tuple[str, ...], without: str = "") -> dict[str, set[str]]:
    """Run checks against the init command, and return the outcomes of each."""
    found: dict[str, set[str]] = {}
    for row in reported(directory, checks, without):
        found.setdefault(row["id"], set()).add(row["outcome"])
    return found


def reported(
    directory: Path, checks: tuple[str, ...], without: str = "", *options: str
) -> list[dict[str, str]]:
    """Run checks against the init command, and return the rows of the report."""
    command = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m"
    command += " tests.mutants.narrow_faults"
    if without:
        command += f" --without {shlex.quote(without)}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--fsm-conformance", "-p", "no:cacheprovider"),
            *("--fsm-init-cmd", command, "--fsm-init-privileged", "--fsm-require", "none"),
            *("--fsm-check", ",".join(checks), f"--fsm-report={directory}", *options),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    report = directory / "report.json"
    if not report.exists():
        pytest.fail(f"no report: {done.stdout}{done.stderr}")
    rows: list[dict[str, str]] = json.loads(report.read_text())["checks"]
    return rows


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The outcomes of each check against all faults at once."""
    return _outcomes(tmp_path_factory.mktemp("faults"))


@cache
def _outcomes(directory: Path) -> dict[str, set[str]]:
    return conform(directory, EVERY_CHECK)


@pytest.mark.parametrize(
    ("kind", "fault", "check"),
    [(kind, fault, check) for kind, faults in KINDS.items() for fault, check in faults.items()],
)
def test_fault_is_found_among_others(
    kind: str, fault: str, check: str, outcomes: dict[str, set[str]]
) -> None:
    """Catches: a kind of fault that the suite certifies, or one fault that hides another."""
    assert outcomes[check] & {"fail", "warn"}, f"{kind}: {fault} is not noticed"


@pytest.mark.parametrize("kind", KINDS)
def test_other_faults_are_not_taken_for_this_kind(kind: str, tmp_path: Path) -> None:
    """Catches: a check that fails for another kind of fault, and would miss its own."""
    outcomes = conform(tmp_path, tuple(CHECKS[kind]), without=kind)
    assert {check: outcomes[check] for check in CHECKS[kind]} == {
        check: {"pass"} for check in CHECKS[kind]
    }


def test_every_flow_names_each_of_many_faults(tmp_path: Path) -> None:
    """Catches: a fault that hides behind another one from the checks of every flow."""
    rows = reported(tmp_path, ("ALL-001", "ALL-002"), "", "--fsm-iptables", "nft")
    told = "\n".join(row.get("reason", "") for row in rows)
    assert [rule for rule in NAMED if rule not in told] == []
