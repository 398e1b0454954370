"""The self-check sees mutants from inside a pod, and the page says which kinds it may miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.collected import MUTANTS
from tests.mutants.unseen import KINDS, kind_of

ROOT = Path(__file__).parents[2]

SEEN = (
    "nothing-programmed",
    "outbound-hook-lost",
    "redirect-out-off-by-one",
    "outbound-dnat-keeps-address",
    "sidecar-rule-lost",
    "outbound-ports-port-1-lost",
    "excluded-ranges-prefix-one-long",
    "included-ranges-last-lost",
    "ipv6-not-programmed",
)
MISSED = ("inbound-hook-lost", "mark-exempt-istio", "second-run-fails")


def test_every_kind_has_mutants_and_leaves_most_to_see() -> None:
    """Catches: a kind that excuses nothing, or one that excuses what the check has to see."""
    kinds = [kind_of(mutant.name) for mutant in MUTANTS if mutant.killable]
    assert [kind.what for kind in KINDS if kind not in kinds] == []
    assert all(kind_of(name) is None for name in SEEN)
    assert kinds.count(None) > 200


@pytest.mark.kernel
@pytest.mark.slow
def test_check_sees_what_it_has_to_see() -> None:
    """Catches: a check that became blind, or a mutant that no kind explains."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--selfcheck", "--jobs", "2", *SEEN, *MISSED],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"sees {len(SEEN)} of {len(SEEN) + len(MISSED)} mutants; 0 unexplained" in done.stdout
