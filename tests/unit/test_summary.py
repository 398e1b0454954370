"""The summary of a run on the terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

import pytest

from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.select import claims
from pytest_fsmredir.model.checks import Catalogue, Profile
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.report.describe import explanation
from pytest_fsmredir.report.terminal import collected, summary
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.deciding import out_of_reach
from pytest_fsmredir.suite.judgement import judge_run
from tests.unit.runs import (
    SETTINGS,
    V4,
    V6,
    WAIVER,
    Run,
    check,
    row,
    run_of,
    run_on_nodes,
)


class Screen:
    """A terminal reporter that records its output."""

    def __init__(self) -> None:
        self.lines = [""]

    def write_sep(self, sep: str, title: str) -> None:
        self.lines.append(f"{sep} {title} {sep}")

    def write_line(self, line: str, **_markup: bool) -> None:
        self.lines.append(line)


def shown(run: Run, *remarks: str) -> list[str]:
    screen = Screen()
    summary(cast("pytest.TerminalReporter", screen), *run, judge_run(*run), remarks, [])
    return screen.lines


def test_summary_groups_variants_and_counts_profiles() -> None:
    """Catches: two lines for one defect, or a missing profile."""
    failed = [row("OUT-001", Outcome.FAIL, variant, reason="lost") for variant in (V4, V6)]
    lines = shown(run_of(*failed), "a remark")
    assert "FAIL   OUT-001 [netns-nft-v4 netns-nft-v6] lost" in lines
    assert any(re.fullmatch(r"core +nonconformant +1 FAILED, 1 unsupp.* 0\.0s", x) for x in lines)
    assert lines[-2:] == ["note         a remark", "verdict: nonconformant"]


def test_reasons_for_not_run_are_counted() -> None:
    """Catches: a run with mostly "not run" checks, and a terminal without the reasons."""
    variant = Variant("kind", "webhook", 4)
    lacking = [("OUT-001", ["a", "b"]), ("OUT-002", ["b"]), ("OUT-003", ["c"])]
    rows = [out_of_reach(check(each), variant, what).row for each, what in lacking]
    claimed = claims(InitCommand(""), {}, inferred=True)
    run = run_of(*rows)
    run = run._replace(plan=replace(run.plan, variants=(variant,), claims=claimed))

    assert [line for line in shown(run) if line.startswith("not run")] == [
        "not run     2  the backend kind lacks: b",
        "not run     1  the backend kind lacks: c",
        "not run     1  selected, but it did not run",
    ]
    assert rows[0].reason == "the backend lacks: a; b"


def test_stale_waiver_is_named() -> None:
    """Catches: an invalid verdict without a reason."""
    run = run_of(row("OUT-002", Outcome.PASS), settings=replace(SETTINGS, waivers=(WAIVER,)))
    assert "stale waiver OUT-002 passes, so there is nothing to waive: remove it" in shown(run)
    assert shown(run)[-1] == "verdict: invalid"


def test_first_run_ends_with_a_next_step() -> None:
    """Catches: a user who sees the reference pass and does not know what to do next."""
    only = Catalogue([check("OUT-001")])
    run = run_of(row("OUT-001", Outcome.PASS), row("OUT-001", Outcome.PASS, V6))
    plan = replace(run.plan, catalogue=only)
    own = run._replace(plan=plan)
    judged = replace(plan, settings=replace(SETTINGS, impl="reference"))
    reference = run._replace(plan=judged)
    assert shown(reference)[-1].startswith("next ")
    assert shown(own)[-1] == "verdict: conformant"


def test_conformant_run_names_the_rules_that_no_flow_decides() -> None:
    """Catches: a verdict "conformant" alone for rules that start to drop next year."""
    proof = "it depends on -m time --datestart 2037 (in OUTPUT); not sent: a packet"
    counted = "it depends on -m limit (in IN), which takes 900 flows to cross"
    passed = [row("OUT-001", Outcome.PASS, variant) for variant in (V4, V6)]
    run = run_of(
        *(replace(one, proof=text) for one, text in zip(passed, (proof, counted), strict=True))
    )
    run = run._replace(plan=replace(run.plan, catalogue=Catalogue([check("OUT-001")])))
    lines = shown(run)
    told = " ".join(line.strip() for line in lines[lines.index("verdict: conformant") + 1 :])
    assert told.startswith("not proved: core, ipv6. The verdict is about the flows that were sent")
    assert told.endswith(" have -m time --datestart 2037 (in OUTPUT), -m limit (in IN)")


def test_profiles_to_be_run_are_counted() -> None:
    """Catches: a user who does not know how many checks are left."""
    line = collected([Profile.IPV6, Profile.CORE, Profile.CORE])
    assert (line, collected([])) == ("conformance: core 2 · ipv6 1", "")


def test_summary_ends_with_the_verdict_of_each_node() -> None:
    """Catches: a summary in which users must count rows to find the failing node."""
    assert shown(run_on_nodes())[-3:] == [
        "verdict on kind:a.b: conformant (4 passed)",
        "verdict on kind:c: nonconformant (1 FAILED, 1 unsupported, 2 not run)",
        "verdict: nonconformant",
    ]


@pytest.mark.parametrize("check_id", ["RES-001", "RES-013"])
def test_explanation_says_what_helpers_do(check_id: str) -> None:
    """Catches: an admin port on localhost that is reported as reachable."""
    assert "15000 listen on the pod's own address too" in explanation(catalogue.load(), check_id)
