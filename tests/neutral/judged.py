"""``python -m tests.neutral.judged NAME``: judge a neutral implementation by the suite."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.suite import catalogue
from tests.mutants.judge import FAMILIES, MATRIX, Point, judging

ROOT = Path(__file__).parents[2]
SCRIPTS = ("per_port.sh", "fsm_current.sh")
MODULES = ("reordered", "marks", "tproxy", "sets", "nftables")
NFT_ONLY = frozenset({"nftables"})
"""Implementations without iptables: they run on the variant native."""

UNCLAIMED = {"fsm_current.sh": frozenset({Feature.IPV6})}
TIMEOUT_S = 2.0


def command(name: str) -> str:
    """Return the init command of a neutral implementation, with arguments for a script."""
    script, *arguments = name.split()
    if script in SCRIPTS:
        return shlex.join(["sh", str(Path(__file__).with_name(script)), *arguments])
    return f"PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m tests.neutral.{name}"


def judge(name: str) -> dict[str, list[str]]:
    """Return the checks that did not pass, by outcome, as ``ID[point]: why``."""
    features = ALL_FEATURES - {Feature.REMOVAL} - UNCLAIMED.get(name.split()[0], frozenset())
    implementation = InitCommand(command(name), features=features)
    natively = [Point("native", family) for family in FAMILIES]
    points = natively if name in NFT_ONLY else MATRIX
    found: dict[str, list[str]] = {outcome.value: [] for outcome in Outcome}
    with judging(implementation, TIMEOUT_S) as judge:
        for trial in judge.run_all(catalogue.load().checks, points):
            found[trial.outcome.value].append(f"{trial}: {trial.detail}")
    return found


def main(argv: Sequence[str]) -> None:
    """Judge one implementation and print the result."""
    privileges.acquire("auto")
    json.dump(judge(argv[0]), sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
