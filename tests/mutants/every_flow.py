"""Judge mutants by the checks of every flow alone, and list those that they do not find."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutants.collected import by_name
from tests.mutants.parallel import spread
from tests.mutants.runner import Verdict, judge_by_every_flow
from tests.mutants.unfound import kind_of


def print_found(names: Sequence[str], jobs: int, timeout_s: float, file: Path | None) -> int:
    """Judge the killable mutants by the checks ALL-* alone. Print those that they do not find.

    Args:
        names: The mutants.
        jobs: Number of processes.
        timeout_s: Seconds after which a flow counts as unanswered.
        file: A file of JSON lines to which each verdict is added at once. Mutants that it has
            already are not judged again. None to write none.

    Returns:
        0 if the checks find the mutants that they have to find and no others; else 1.
    """
    killable = [name for name in names if by_name(name).killable]
    marked: Counter[str] = Counter()
    found = wrong = 0
    for result in _results(killable, jobs, timeout_s, file):
        kind = kind_of(result["mutant"])
        marked.update([kind.name] if kind else [])
        found += kind is None and result["killer"] is not None
        if (kind is None) != (result["killer"] is not None):
            wrong += 1
            sys.stdout.write("\n".join([*_lines(result), ""]))
            sys.stdout.flush()
    kinds = ", ".join(f"{count} {kind}" for kind, count in marked.most_common())
    sys.stdout.write(
        f"{found} of {len(killable) - marked.total()} mutants that show in rules found by ALL-*"
        f" alone; {marked.total()} do not show ({kinds or 'none'}); {wrong} not as expected\n"
    )
    return int(wrong > 0)


def _lines(result: dict[str, Any]) -> Iterator[str]:
    name, killer, kind = result["mutant"], result["killer"], kind_of(result["mutant"])
    if kind is not None:
        yield f"FOUND: {name} by {killer}, and the mark says that it does not show: {kind.name}"
        return
    yield f"NOT FOUND: {name}: {by_name(name).what}"
    yield f"    not proved: {'; '.join(result['unproved'])[:300] or 'nothing'}"
    yield from (f"    not decided: {error}" for error in result["errors"][:1])


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
