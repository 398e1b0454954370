"""Judge mutants by the checks of every flow alone, and list those that they do not find."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutants.collected import by_name
from tests.mutants.parallel import spread
from tests.mutants.runner import Verdict, judge_by_every_flow


def print_found(names: Sequence[str], jobs: int, timeout_s: float, file: Path | None) -> None:
    """Judge the killable mutants. Print those that no check ALL-* kills, and the share found.

    Args:
        names: The mutants.
        jobs: Number of processes.
        timeout_s: Seconds after which a flow counts as unanswered.
        file: A file of JSON lines to which each verdict is added at once. Mutants that it has
            already are not judged again. None to write none.
    """
    killable = [name for name in names if by_name(name).killable]
    found = 0
    for result in _results(killable, jobs, timeout_s, file):
        if result["killer"] is not None:
            found += 1
            continue
        sys.stdout.write(f"{result['mutant']}: {by_name(result['mutant']).what}\n")
        proved = "; ".join(result["unproved"]) or "nothing" if not result["errors"] else ""
        sys.stdout.write(f"    not proved: {proved[:300]}\n" if proved else "")
        for error in result["errors"][:1]:
            sys.stdout.write(f"    not decided: {error}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{found} of {len(killable)} mutants found by ALL-* alone\n")


def _results(
    names: Sequence[str], jobs: int, timeout_s: float, file: Path | None
) -> Iterator[dict[str, Any]]:
    earlier = {}
    if file is not None and file.exists():
        earlier = {each["mutant"]: each for each in map(json.loads, file.open())}
    yield from (earlier[name] for name in names if name in earlier)
    rest = [name for name in names if name not in earlier]
    for verdict in spread(partial(judge_by_every_flow, timeout_s=timeout_s), rest, jobs):
        result = _as_result(verdict)
        if file is not None:
            with file.open("a") as lines:
                lines.write(json.dumps(result) + "\n")
        yield result


def _as_result(verdict: Verdict) -> dict[str, Any]:
    return {
        "mutant": verdict.mutant,
        "killer": str(verdict.killer) if verdict.killer else None,
        "detail": verdict.killer.detail if verdict.killer else "",
        "errors": [f"{trial}: {trial.detail}" for trial in verdict.errors],
        "unproved": sorted(verdict.unproved),
        "trials": verdict.trials,
        "seconds": round(verdict.seconds, 2),
    }
