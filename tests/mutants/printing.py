"""Print verdicts as text, and as JSON for the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pytest_fsmredir.model.checks import Catalogue, Level
from tests.mutants.collected import by_name
from tests.mutants.runner import Verdict


def line(verdict: Verdict) -> str:
    """Return the line about one mutant."""
    if verdict.killer is None:
        how = f"SURVIVED {verdict.trials} trials" if verdict.killable else "passed"
    else:
        how = f"{'killed' if verdict.killable else 'FALSE ALARM'} by {verdict.killer}"
    text = f"{verdict.seconds:6.2f} s  {verdict.mutant}: {how}"
    if verdict.as_expected:
        return text
    details = [f"    {by_name(verdict.mutant).what}"]
    if verdict.killer is not None:
        details.append(f"    {verdict.killer.detail}")
    details += [f"    error in {trial}: {trial.detail}" for trial in verdict.errors[:5]]
    return "\n".join([text, *details])


def summary(verdicts: Sequence[Verdict], checks: Catalogue, seconds: float) -> str:
    """Return the score, and the mutants and checks that need attention."""
    killable = [verdict for verdict in verdicts if verdict.killable]
    killed = [verdict for verdict in killable if verdict.killer is not None]
    equivalent = [verdict for verdict in verdicts if not verdict.killable]
    by_should = [v for v in killed if v.killer and checks[v.killer.check].level is Level.SHOULD]
    erring = [verdict for verdict in verdicts if verdict.errors]
    return "\n".join(
        [
            "",
            f"{len(killed)} of {len(killable)} mutants killed in {seconds:.0f} s"
            f" ({sum(v.seconds for v in verdicts):.0f} s of work)",
            _names("survivors", [v for v in killable if v.killer is None]),
            _names("killed by a SHOULD only", by_should),
            f"{sum(v.killer is None for v in equivalent)} of {len(equivalent)} equivalent mutants"
            f" passed, in {sum(v.trials for v in equivalent)} trials",
            _names("false alarms", [v for v in equivalent if v.killer is not None]),
            *(
                f"not decided: {v.mutant} by {trial}: {trial.detail}"
                for v in erring
                for trial in v.errors[:3]
            ),
            f"busiest killers: {_busiest(killed)}",
            *_explained(killed),
        ]
    )


def as_document(verdicts: Sequence[Verdict], seconds: float) -> dict[str, Any]:
    """Return everything as plain JSON values."""
    return {
        "seconds": seconds,
        "mutants": {
            verdict.mutant: {
                "killable": verdict.killable,
                "as_expected": verdict.as_expected,
                "killer": str(verdict.killer) if verdict.killer else None,
                "detail": verdict.killer.detail if verdict.killer else "",
                "errors": [f"{trial}: {trial.detail}" for trial in verdict.errors],
                "naming": verdict.killer.naming if verdict.killer else None,
                "why": verdict.killer.why if verdict.killer else "",
                "seconds": verdict.seconds,
                "trials": verdict.trials,
            }
            for verdict in verdicts
        },
    }


def _explained(killed: Sequence[Verdict]) -> list[str]:
    """Return how many failures name the changed rule; empty if they were not explained."""
    visible = [v for v in killed if v.killer and v.killer.naming is not None]
    if not visible:
        return []
    named = [verdict for verdict in visible if verdict.killer and verdict.killer.naming]
    share = 100 * len(named) / len(visible)
    others = [verdict for verdict in visible if verdict not in named]
    return [
        f"the failure names the changed rule: {len(named)} of {len(visible)} mutants whose rules"
        f" differ ({share:.1f} %)",
        _names("not named", others),
    ]


def _names(what: str, verdicts: Sequence[Verdict]) -> str:
    return f"{what}: {', '.join(sorted(v.mutant for v in verdicts)) or 'none'}"


def _busiest(killed: Sequence[Verdict]) -> str:
    counted = Counter(verdict.killer.check for verdict in killed if verdict.killer)
    return ", ".join(f"{check} {count}" for check, count in counted.most_common(8))
