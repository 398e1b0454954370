"""What a run prints: the header, and at the end the table of profiles and the verdict."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest

from pytest_fsmredir.backends.netns.programs import iptables_version
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.outcomes import Outcome, Row
from pytest_fsmredir.report.verdict import ProfileResult, Verdict, worst
from pytest_fsmredir.run import Run

_MARKUP = {
    Verdict.CONFORMANT: {"green": True, "bold": True},
    Verdict.PARTIAL: {"yellow": True, "bold": True},
    Verdict.NONCONFORMANT: {"red": True, "bold": True},
    Verdict.INVALID: {"red": True, "bold": True},
}
_NAMED = (Outcome.ERROR, Outcome.FAIL, Outcome.WARN, Outcome.NOTE)


def header(run: Run) -> list[str]:
    """Return the lines that say what is judged, on what."""
    kinds = sorted({variant.iptables for variant in run.variants})
    iptables = ", ".join(f"{iptables_version(IptablesVariant(kind))} {kind}" for kind in kinds)
    checks = len(run.catalogue.checks)
    return [
        f"fsm-redir {version('pytest-fsmredir')} · {checks} checks,"
        f" catalogue {run.catalogue.digest[:12]} · backend netns ({run.privilege})"
        f" · iptables {iptables} · kernel {platform.release()}",
        f"implementation: {run.implementation.name}",
    ]


def summary(reporter: pytest.TerminalReporter, run: Run) -> None:
    """Print what the run came to."""
    reporter.section("conformance")
    results = run.results()
    for row in sorted(run.rows.values(), key=lambda row: (row.check, row.variant)):
        if row.outcome in _NAMED:
            reporter.write_line(_named(row))
    for result in results:
        reporter.write_line(_line(result), **_MARKUP.get(result.verdict, {}))
    verdict = worst(results)
    reporter.write_line(f"verdict: {verdict}", **_MARKUP[verdict])


def _named(row: Row) -> str:
    return f"{row.outcome.upper():<6} {row.check} [{row.variant}] {row.reason}"


def _line(result: ProfileResult) -> str:
    counts = ", ".join(f"{n} {outcome}" for outcome in Outcome if (n := result.counts[outcome]))
    return f"{result.profile:<12} {result.verdict:<14} {counts}"
