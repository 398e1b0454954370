"""What a run prints: the header, and at the end profiles, verdict, and what to do next."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from pytest_fsmredir.config.settings import NETNS
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.report.facts import iptables_versions, suite_version
from pytest_fsmredir.report.failures import failure_lines, wrapped
from pytest_fsmredir.report.reasons import not_run
from pytest_fsmredir.suite.judgement import NodeResult, ProfileResult, Verdict
from pytest_fsmredir.suite.run import Run

_MARKUP: Mapping[Verdict, Mapping[str, bool]] = {
    Verdict.CONFORMANT: {"green": True, "bold": True},
    Verdict.PARTIAL: {"yellow": True, "bold": True},
    Verdict.NONCONFORMANT: {"red": True, "bold": True},
    Verdict.INVALID: {"red": True, "bold": True},
}
_WORDS = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "FAILED",
    Outcome.WARN: "warned",
    Outcome.NOTE: "noted",
    Outcome.ERROR: "ERRORS",
    Outcome.UNSUPPORTED: "unsupported",
    Outcome.WAIVED: "waived",
    Outcome.NOT_RUN: "not run",
}

_NEXT = """\
next         judge your own, by the command that programs a pod or by its rules:
               pytest --fsm-conformance --fsm-init-cmd './my-init.sh'
               pytest --fsm-conformance --fsm-rules rules.v4
             see what is checked: pytest --fsm-list, pytest --fsm-explain {check}"""


def header(run: Run) -> list[str]:
    """Return the lines that say what is judged, on what."""
    version = run.settings.identity.version
    project = run.settings.identity.project
    subject = (
        f"{project} {version} ({run.implementation.name})" if project else (run.implementation.name)
    )
    return [
        f"fsm-redir {suite_version()} · {len(run.catalogue.checks)} checks,"
        f" catalogue {run.catalogue.digest[:12]} · {_backends(run)} · kernel {platform.release()}",
        f"implementation: {subject}{_init_container(run)}",
    ]


def _init_container(run: Run) -> str:
    """Return in what way its init container is not an ordinary one; empty for an ordinary one."""
    if run.settings.init_privileged:
        return " · in a privileged init container"
    undenied = "; ".join(run.undenied)
    return f" · unlike in an init container of Kubernetes, {undenied}" if undenied else ""


def _backends(run: Run) -> str:
    """Return where it runs; what a cluster has is not known yet."""
    told = {NETNS: run.privilege}
    told |= {name: f"on {', '.join(nodes)}" for name, nodes in run.nodes.items()}
    names = [f"{name} ({told[name]})" if name in told else name for name in run.settings.backends]
    versions = iptables_versions(run.variants)
    nft = versions.pop(IptablesVariant.NATIVE, "")
    iptables = ", ".join(f"{version} {kind}" for kind, version in versions.items())
    shown = {"iptables": iptables, "nft": nft}
    programs = [f"{name} {text}" for name, text in shown.items() if text]
    sidecar = [f"sidecar {run.sidecar}"] if run.sidecar else []
    return " · ".join([f"backend {', '.join(names)}", *programs, *sidecar])


def collected(profiles: Iterable[Profile]) -> str:
    """Return how many checks of each profile are about to run."""
    counts = Counter(profiles)
    parts = [f"{profile} {counts[profile]}" for profile in Profile if counts[profile]]
    return f"conformance: {' · '.join(parts)}" if parts else ""


def summary(
    reporter: pytest.TerminalReporter,
    run: Run,
    remarks: Iterable[str],
    files: Iterable[Path],
    *,
    verbose: bool = False,
) -> None:
    """Print the results of a run.

    Args:
        reporter: Where to.
        run: What ran.
        remarks: What else a reader should know.
        files: Of the report that was written.
        verbose: Show every group of failures, and the id of every check in it.
    """
    reporter.write_sep("=", "conformance")
    results = run.results()
    for line in _named(run, verbose=verbose):
        reporter.write_line(line)
    for result in results:
        reporter.write_line(_profile(result), **_MARKUP.get(result.verdict, {}))
    for reason in not_run(row for _, row in run.all_rows()):
        reporter.write_line(f"{'not run':<8} {reason}")
    for name, text in _notices(run, remarks):
        reporter.write_line(f"{name:<12} {text}", yellow=True)
    for node in run.node_results():
        reporter.write_line(_node(node), **_MARKUP[node.verdict])
    print_verdict(reporter, run)
    if shown := [os.path.relpath(file) for file in files]:
        reporter.write_line(f"{'report':<12} {'  '.join(shown)}")
    if _is_first_minute(run):
        reporter.write_line(_NEXT.format(check=run.catalogue.checks[0].id))


def print_verdict(reporter: pytest.TerminalReporter, run: Run) -> None:
    """Print the verdict of the whole run."""
    verdict = run.verdict()
    reporter.write_line(f"verdict: {verdict}", **_MARKUP[verdict])


def _named(run: Run, *, verbose: bool) -> Iterator[str]:
    """Yield the lines about checks that the user has to look at."""
    yield from failure_lines(run.rows.values(), verbose=verbose)
    notes = sorted({row.check for row in run.rows.values() if row.outcome is Outcome.NOTE})
    if notes:
        text = f"noted, with no bearing on the verdict: {', '.join(notes)}"
        yield from wrapped(f"{text} (pytest --fsm-explain ID)", "       ")


def _profile(result: ProfileResult) -> str:
    counts = _counted(result.counts)
    return f"{result.profile:<12} {result.verdict:<14} {counts:<36} {result.seconds:.1f}s"


def _node(result: NodeResult) -> str:
    where = f"{result.backend}:{result.node}"
    return f"verdict on {where}: {result.verdict} ({_counted(result.counts)})"


def _counted(counts: Counter[Outcome]) -> str:
    return ", ".join(f"{n} {_WORDS[kind]}" for kind in Outcome if (n := counts[kind]))


def _notices(run: Run, remarks: Iterable[str]) -> Iterator[tuple[str, str]]:
    for waiver in run.stale_waivers():
        yield "stale waiver", f"{waiver.id} passes, so there is nothing to waive: remove it"
    if run.trouble:
        yield "trouble", run.trouble
    if run.interrupted:
        yield "interrupted", "the run ended early: these are the results so far"
    for what in run.remarks:
        yield "note", what
    for what in run.kept:
        yield "kept", what
    for what in run.left:
        yield "left behind", what
    if found := "; ".join(remarks):
        yield "note", found


def _is_first_minute(run: Run) -> bool:
    """Whether somebody has just seen the built-in implementation pass, and nothing of their own."""
    return run.settings.impl == "reference" and run.verdict() is Verdict.CONFORMANT
