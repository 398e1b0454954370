"""Random exemptions in a correct rule set: the checks of every flow find them and name them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.planted import VARIANTS, planted

ROOT = Path(__file__).parents[2]


def test_seeds_draw_every_kind_of_exemption() -> None:
    """Catches: a generator that leaves out a kind of condition, a direction or a variant."""
    made = [planted(seed) for seed in range(200)]
    for words in ("-s ", "-d ", "--dport", "--sport", "--uid", "--gid", "--mark", "--dscp", "-i ",
                  "-o "):  # fmt: skip
        assert any(words in one.mutant.what for one in made), words
    assert {(one.point.iptables, one.point.family) for one in made} == {
        (variant, family) for variant in VARIANTS for family in (4, 6)
    }


@pytest.mark.kernel
@pytest.mark.slow
def test_random_exemptions_are_found_and_named() -> None:
    """Catches: one address, port, user, mark or interface that a proof misses, or a wrong rule."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--planted", "24", "--jobs", "2"],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 of 24 exemptions found, and 24 named" in done.stdout
