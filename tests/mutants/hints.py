"""The check that killed each mutant last. It runs first, so that most mutants cost one check.

A hint only orders the checks: if the hinted check passes, the others run as without a hint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.mutants.judge import Point

FILE = Path(__file__).with_name("killers.json")


@cache
def killers() -> Mapping[str, str]:
    """Return the killer of each mutant, such as ``OUT-001[nft-v4]``, by the mutant's name."""
    found: dict[str, str] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def hint(name: str) -> tuple[str, Point] | None:
    """Return the check that killed a mutant last, and its point; None if none is known."""
    killer = killers().get(name)
    if killer is None:
        return None
    check, _, point = killer.rstrip("]").partition("[")
    iptables, _, family = point.partition("-v")
    return check, Point(iptables, int(family))


def remember(found: Mapping[str, str], known: frozenset[str]) -> None:
    """Write the killers of some mutants, and keep those of the others.

    Args:
        found: Killers by the names of their mutants.
        known: The names of all mutants; a killer of another name is dropped.
    """
    kept = {name: killer for name, killer in {**killers(), **found}.items() if name in known}
    FILE.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
