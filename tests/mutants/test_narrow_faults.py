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


def conform(directory: Path, checks: tuple[str, ...], without: str = "") -> dict[str, set[str]]:
    """Run checks against the init command, and return the outcomes of each."""
    command = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m"
    command += " tests.mutants.narrow_faults"
    if without:
        command += f" --without {shlex.quote(without)}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--fsm-conformance", "-p", "no:cacheprovider"),
            *("--fsm-init-cmd", command, "--fsm-init-privileged", "--fsm-require", "none"),
            *("--fsm-check", ",".join(checks), f"--fsm-report={directory}"),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    report = directory / "report.json"
    if not report.exists():
        pytest.fail(f"no report: {done.stdout}{done.stderr}")
    found: dict[str, set[str]] = {}
    for row in json.loads(report.read_text())["checks"]:
        found.setdefault(row["id"], set()).add(row["outcome"])
    return found


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
