"""Print the header of a run, and its summary: profiles, verdict, and what to do next."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import shorten

import pytest

from pytest_fsmredir.config.parsing import NETNS
from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.claims import DEPENDS, reasons_of
from pytest_fsmredir.model.outcomes import IptablesVariant, Outcome, Row
from pytest_fsmredir.report.failures import failure_lines, wrapped
from pytest_fsmredir.report.reasons import not_run
from pytest_fsmredir.report.rules import rule_lines
from pytest_fsmredir.report.uncovered import uncovered_ipv6
from pytest_fsmredir.report.version import suite_version
from pytest_fsmredir.suite.judgement import Judgement, NodeResult, ProfileResult, Verdict
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results

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

_ASKED_AT_MOST = 3
_PROOF_WIDTH = 160  # characters; the report has the whole text

_NEXT = """\
next         judge your own, by the command that programs a pod or by its rules:
               pytest --fsm-conformance --fsm-init-cmd './my-init.sh'
               pytest --fsm-conformance --fsm-rules rules.v4
             see what is checked: pytest --fsm-list, pytest --fsm-explain {check}"""


def header(plan: Plan, results: Results) -> list[str]:
    """Return the lines that name the implementation, the suite and the machine."""
    identity, subject = plan.settings.identity, plan.implementation.name
    if identity.project:
        subject = f"{identity.project} {identity.version} ({subject})"
    digest = plan.catalogue.digest[:12]
    return [
        f"fsm-redir {suite_version()} · {len(plan.catalogue.checks)} checks,"
        f" catalogue {digest} · {_backends(plan, results)} · kernel {platform.release()}",
        f"implementation: {subject}{_init_container(plan, results)}",
    ]


def _init_container(plan: Plan, results: Results) -> str:
    """Return how the init container differs from an ordinary one; empty for an ordinary one."""
    if plan.settings.init_privileged:
        return " · in a privileged init container"
    undenied = "; ".join(results.undenied)
    return f" · unlike in an init container of Kubernetes, {undenied}" if undenied else ""


def _backends(plan: Plan, results: Results) -> str:
    """Return the backends of the run; details of a cluster are not known yet."""
    details = {NETNS: results.privilege}
    details |= {name: f"on {', '.join(nodes)}" for name, nodes in plan.nodes.items()}
    names = [
        f"{name} ({details[name]})" if name in details else name for name in plan.settings.backends
    ]
    versions = dict(results.iptables)
    nft = versions.pop(IptablesVariant.NATIVE, "")
    iptables = ", ".join(f"{version} {kind}" for kind, version in versions.items())
    shown = {"iptables": iptables, "nft": nft}
    programs = [f"{name} {text}" for name, text in shown.items() if text]
    sidecar = [f"sidecar {results.sidecar}"] if results.sidecar else []
    return " · ".join([f"backend {', '.join(names)}", *programs, *sidecar])


def collected(profiles: Iterable[Profile]) -> str:
    """Return how many checks of each profile will run."""
    counts = Counter(profiles)
    parts = [f"{profile} {counts[profile]}" for profile in Profile if counts[profile]]
    return f"conformance: {' · '.join(parts)}" if parts else ""


def summary(
    reporter: pytest.TerminalReporter,
    plan: Plan,
    results: Results,
    judgement: Judgement,
    remarks: Iterable[str],
    files: Iterable[Path],
    *,
    verbose: bool = False,
) -> None:
    """Print the results of a run.

    Args:
        reporter: The terminal reporter to print with.
        plan: The plan of the run.
        results: The results of the run.
        judgement: The judgement of the run.
        remarks: Remarks for the reader.
        files: The files of the report.
        verbose: Whether to show every group of failures, and the id of every check in it.
    """
    reporter.write_sep("=", "conformance")
    for line in _named(results, verbose=verbose):
        reporter.write_line(line)
    for result in judgement.profiles:
        reporter.write_line(_profile(result), **_MARKUP.get(result.verdict, {}))
    for line in rule_lines(row for _, row in judgement.rows):
        reporter.write_line(f"{'rules':<12} {line}")
    for proof in dict.fromkeys(row.proof for row in results.rows.values() if _generated(row)):
        reporter.write_line(f"{'generated':<12} {proof}")
    for reason in not_run(row for _, row in judgement.rows):
        reporter.write_line(f"{'not run':<8} {reason}")
    for name, text in _notices(results, judgement, remarks):
        reporter.write_line(f"{name:<12} {text}", yellow=True)
    for node in judgement.nodes:
        reporter.write_line(_node(node), **_MARKUP[node.verdict])
    print_verdict(reporter, judgement.verdict)
    for line in _unproved(judgement):
        reporter.write_line(line, yellow=True)
    if shown := [os.path.relpath(file) for file in files]:
        reporter.write_line(f"{'report':<12} {'  '.join(shown)}")
    if _is_demonstration(plan, judgement):
        reporter.write_line(_NEXT.format(check=plan.catalogue.checks[0].id))


def print_verdict(reporter: pytest.TerminalReporter, verdict: Verdict) -> None:
    """Print the verdict of the whole run."""
    reporter.write_line(f"verdict: {verdict}", **_MARKUP[verdict])


def print_node(reporter: pytest.TerminalReporter, result: NodeResult) -> None:
    """Print the verdict of one node."""
    reporter.write_line(_node(result), **_MARKUP[result.verdict])


def _unproved(judgement: Judgement) -> Iterator[str]:
    """Yield what a conformant verdict leaves open because a rule asks for more than the flow."""
    if judgement.verdict is not Verdict.CONFORMANT:
        return
    asked: dict[str, list[Profile]] = {}
    for profile, row in judgement.rows:
        for reason in reasons_of([row.proof]):
            if reason.startswith(DEPENDS):
                what = reason.removeprefix(DEPENDS).split(", which takes ")[0]
                asked.setdefault(what, []).append(profile)
    if asked:
        profiles = dict.fromkeys(each for some in asked.values() for each in some)
        more = len(asked) - _ASKED_AT_MOST
        named = [*list(asked)[:_ASKED_AT_MOST], *([f"and {more} more"] if more > 0 else [])]
        yield from wrapped(
            f"not proved: {', '.join(profiles)}. The verdict is about the flows that were sent."
            f" Another flow, or the same flow later, can have another fate, because the rules have"
            f" {', '.join(named)}",
            "         ",
        )


def _named(results: Results, *, verbose: bool) -> Iterator[str]:
    """Yield the lines about checks that need the user's attention."""
    yield from failure_lines(results.rows.values(), verbose=verbose)
    notes = sorted({row.check for row in results.rows.values() if row.outcome is Outcome.NOTE})
    if notes:
        text = f"noted, with no bearing on the verdict: {', '.join(notes)}"
        yield from wrapped(f"{text} (pytest --fsm-explain ID)", "       ")


def _profile(result: ProfileResult) -> str:
    counts = _counted(result.counts)
    proof = f"  {shorten(result.proof, _PROOF_WIDTH)}" if result.proof else ""
    return f"{result.profile:<12} {result.verdict:<14} {counts:<36} {result.seconds:.1f}s{proof}"


def _generated(row: Row) -> bool:
    """Whether a row has the proof of generated policies."""
    return row.check.startswith("FUZ-") and bool(row.proof)


def _node(result: NodeResult) -> str:
    where = f"{result.backend}:{result.node}"
    return f"verdict on {where}: {result.verdict} ({_counted(result.counts)})"


def _counted(counts: Counter[Outcome]) -> str:
    return ", ".join(f"{n} {_WORDS[kind]}" for kind in Outcome if (n := counts[kind]))


def _notices(
    results: Results, judgement: Judgement, remarks: Iterable[str]
) -> Iterator[tuple[str, str]]:
    for waiver in judgement.stale_waivers:
        yield "stale waiver", f"{waiver.id} passes, so there is nothing to waive: remove it"
    if results.trouble:
        yield "trouble", results.trouble
    if results.interrupted:
        yield "interrupted", "before the end: these are the results so far"
    if hint := uncovered_ipv6(row for _, row in judgement.rows):
        yield "ipv6", hint
    for what in results.remarks:
        yield "note", what
    for what in results.kept:
        yield "kept", what
    for what in results.left:
        yield "left behind", what
    if found := "; ".join(remarks):
        yield "note", found


def _is_demonstration(plan: Plan, judgement: Judgement) -> bool:
    """Whether this run tested only the built-in implementation, with the verdict conformant."""
    return plan.settings.impl == "reference" and judgement.verdict is Verdict.CONFORMANT
