"""Run one check: decide its outcome and explain it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.model.checks import INFO, MUST, SHOULD, Check, Level, Profile
from pytest_fsmredir.model.claims import Statement, require
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Body
from pytest_fsmredir.model.flow import Address, Claim, Direction, Fate, Flow
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.suite.deciding import (
    Course,
    Result,
    as_failure,
    begun,
    decide,
    deciding,
    finished,
)

V4 = Variant("netns", "nft", 4)


class Mesh:
    """The part of a mesh that a check without a pod needs."""

    def __init__(self, observed: int = 1) -> None:
        self.observed = observed
        self.lost: list[str] = []

    def losses(self) -> list[str]:
        return self.lost


LONG = Claim(
    holds=False,
    expected="direct",
    fate=Fate(Flow(Direction.OUTBOUND, Address("192.0.2.1", 80), uid=1000), None, (), "x" * 400),
)


def asserts_a_claim(_mesh: object) -> None:
    fate = SimpleNamespace(direct=LONG)
    assert fate.direct


def asserts_in_many_blocks(_mesh: object) -> None:
    for fate in (SimpleNamespace(direct=LONG),):
        with nullcontext():
            try:
                next(iter(()))
            except StopIteration:
                match fate:
                    case None:
                        return
                    case _:
                        assert fate.direct


def asserts_in_the_last_block(_mesh: object) -> None:
    while True:
        try:
            break
        finally:
            if LONG:
                pass
            else:
                assert SimpleNamespace(direct=LONG).direct


def asserts_a_refusal(_mesh: object) -> None:
    lists = {"flomesh.io/outbound-ip-range-exclusion-list": "10.0.0.0/33," * 30}
    traffic = {"outboundPortExclusionList": [0]}
    assert Programming(accepted=True, configuration=Configuration(lists, traffic)).refused


def asserts_something_else(_mesh: object) -> None:
    count = 3
    assert count == 4, "three of four answered"


def breaks(_mesh: object) -> None:
    raise OSError("no \x1b[2Jmore descriptors")


def passes(_mesh: object) -> None:
    pass


def fate(lost: str, port: int = 80) -> Fate:
    return Fate(Flow(Direction.OUTBOUND, Address("192.0.2.1", port), uid=1000), None, (), lost)


def asserts_one_of_two(_mesh: object) -> None:
    for lost in ("refused", "no answer", "reset"):
        seen = fate(lost)
        assert seen.direct or seen.captured_inbound or not lost.startswith("res")


def asserts_any_of_many(_mesh: object) -> None:
    fates = [fate("refused", port) for port in (1, 2, 3)]
    assert any(each.direct for each in fates), "nothing is direct"


def asserts_by_a_helper(_mesh: object) -> None:
    assert _is_direct(fate("reset"))


def _is_direct(seen: Fate) -> bool:
    return bool(seen.direct)


def asserts_in_a_helper(_mesh: object) -> None:
    _must_be_refused(fate("reset"))


def _must_be_refused(seen: Fate) -> None:
    assert seen.refused


def asserts_over_lines(_mesh: object) -> None:
    seen = fate("reset")
    assert (
        seen.captured_outbound
        or seen.captured_inbound
    )  # fmt: skip


def asks_and_asserts_something_else(_mesh: object) -> None:
    if not fate("reset").direct:
        assert 1 + 1 == 3


def lets_our_code_make_a_claim(_mesh: object) -> None:
    require(Statement(holds=False, expected="an answer", observed="nothing"))


def meets_a_failed_assertion_of_ours(_mesh: object) -> None:
    Path("/").joinpath(fails_in_another_file())


def fails_in_another_file() -> str:
    namespace: dict[str, Callable[[], str]] = {}
    exec(compile("def fail():\n  raise AssertionError('ours')", "ours.py", "exec"), namespace)  # noqa: S102
    return namespace["fail"]()


def check(function: Body, level: Level = MUST) -> Check:
    return Check(
        id="OUT-001",
        requirement=f"It {level} work.",
        spec="SPEC-1.1",
        level=level,
        profile=Profile.CORE,
        features=frozenset(),
        needs=frozenset(),
        families=(4,),
        function=function,
    )


def decided(function: Body, level: Level = MUST, observed: int = 1) -> Result:
    return decide(check(function, level), V4, cast("JudgedMesh", Mesh(observed)))


def test_long_claim_is_not_truncated() -> None:
    """Catches: an explanation with "..." in place of the answer."""
    row = decided(asserts_a_claim).row
    assert (row.outcome, row.expected, row.seen) == (Outcome.FAIL, "direct", "x" * 400)
    assert row.flow == "tcp from uid 1000 to 192.0.2.1:80"
    assert row.reason.endswith("x" * 400)


@pytest.mark.parametrize("function", [asserts_in_many_blocks, asserts_in_the_last_block])
def test_claim_is_found_in_any_block(function: Callable[..., None]) -> None:
    """Catches: an assertion that is not found because a block holds it, such as ``finally``."""
    row = decided(function).row
    assert (row.expected, row.flow) == ("direct", "tcp from uid 1000 to 192.0.2.1:80")


def test_accepted_configuration_is_shown_in_full() -> None:
    """Catches: a missing refusal that does not say which of ten values was accepted."""
    reason = decided(asserts_a_refusal).row.reason
    assert "annotations {'flomesh.io/outbound-ip-range-exclusion-list': '10.0.0.0/33," in reason
    assert reason.endswith("MeshConfig {'outboundPortExclusionList': [0]}; seen programmed")


@pytest.mark.parametrize(
    ("function", "of_packets"),
    [(asserts_a_claim, True), (asserts_something_else, True), (asserts_a_refusal, False)],
)
def test_only_violations_that_packets_show_are_explained_by_rules(
    function: Body, *, of_packets: bool
) -> None:
    """Catches: a rule that is blamed because a list was accepted."""
    assert decided(function).of_packets is of_packets


def test_assertion_without_a_flow_shows_its_message() -> None:
    """Catches: a failure without an explanation, because it is not about a flow."""
    row = decided(asserts_something_else).row
    assert (row.reason, row.flow) == ("three of four answered", "")


@pytest.mark.parametrize(
    ("function", "expected", "seen"),
    [
        (asserts_one_of_two, "direct or captured inbound", "reset"),
        (asserts_any_of_many, "direct", "refused"),
        (asserts_by_a_helper, "direct", "reset"),
        (asserts_in_a_helper, "refused", "reset"),
        (asserts_over_lines, "captured outbound or captured inbound", "reset"),
        (lets_our_code_make_a_claim, "an answer", "nothing"),
    ],
)
def test_row_holds_the_claim_that_failed(
    function: Callable[..., None], expected: str, seen: str
) -> None:
    """Catches: a report that shows an earlier claim, or none, for a compound assertion."""
    row = decided(function).row
    assert (row.outcome, row.expected, row.seen) == (Outcome.FAIL, expected, seen)


def test_last_flow_of_many_is_shown() -> None:
    """Catches: a report that shows another flow than the one that failed."""
    row = decided(asserts_any_of_many).row
    assert row.flow == "tcp from uid 1000 to 192.0.2.1:3"
    assert row.reason.startswith("nothing is direct: tcp from uid 1000 to 192.0.2.1:3: expected")


def test_claim_outside_the_assertion_is_not_shown() -> None:
    """Catches: a claim of an ``if`` that is shown as the reason of an unrelated assertion."""
    row = decided(asks_and_asserts_something_else).row
    assert (row.reason, row.expected) == ("1 + 1 == 3", "")


def test_assertion_outside_the_check_file_is_a_harness_error() -> None:
    """Catches: a failed assertion of the harness that is blamed on the implementation."""
    row = decided(meets_a_failed_assertion_of_ours).row
    assert (row.outcome, row.reason) == (Outcome.ERROR, "AssertionError: ours")


@pytest.mark.parametrize(
    ("level", "outcome"),
    [(MUST, Outcome.FAIL), (SHOULD, Outcome.WARN), (INFO, Outcome.NOTE)],
)
def test_level_decides_between_failure_and_warning(level: Level, outcome: Outcome) -> None:
    """Catches: a violated recommendation that fails the run."""
    assert decided(asserts_a_claim, level).row.outcome is outcome


def test_harness_fault_is_an_error() -> None:
    """Catches: an implementation blamed for a full disk, or text that clears the terminal."""
    row = decided(breaks).row
    assert row.outcome is Outcome.ERROR
    assert row.reason == r"OSError: no \x1b[2Jmore descriptors"


def test_pod_that_lost_its_network_is_not_a_harness_error() -> None:
    """Catches: an implementation that removes a pod's address and gets the verdict "invalid"."""
    mesh = Mesh()
    mesh.lost = ["eth0 has lost its address 10.0.0.1"]
    row = decide(check(breaks), V4, cast("JudgedMesh", mesh)).row
    assert (row.outcome, row.seen) == (Outcome.FAIL, "eth0 has lost its address 10.0.0.1")
    row = decide(check(asserts_in_a_helper), V4, cast("JudgedMesh", mesh)).row
    assert (row.expected, row.seen) == ("refused", "reset; eth0 has lost its address 10.0.0.1")


def test_check_without_observations_is_undecided() -> None:
    """Catches: a check that passes because its loop is empty."""
    assert decided(passes, observed=0).row.outcome is Outcome.ERROR
    assert decided(passes).row.outcome is Outcome.PASS


def test_failure_shows_requirement_flow_and_rerun_command() -> None:
    """Catches: a failure that only readers of the source understand."""
    error = as_failure(decided(asserts_a_claim).row, check(asserts_a_claim), "pytest ...").error
    assert str(error).splitlines() == [
        "OUT-001 asserts a claim",
        "  requirement  It MUST work.  [SPEC-1.1]",
        "  on           netns-nft-v4",
        "  flow         tcp from uid 1000 to 192.0.2.1:80",
        "  expected     direct",
        f"  seen         {'x' * 400}",
        "  again        pytest ...",
    ]


def pauses(mesh: Mesh) -> Iterator[None]:
    mesh.observed += 1
    yield
    assert fate("reset").direct


def fails_at_once(_mesh: object) -> Iterator[None]:
    assert fate("refused").direct
    yield


def course(function: Callable[..., Iterator[None]], mesh: Mesh) -> Course:
    return begun(deciding(check(function), V4, cast("JudgedMesh", mesh)))


def test_second_part_of_a_check_waits_for_its_turn() -> None:
    """Catches: a check of idle connections that runs without a pause, or never ends."""
    mesh = Mesh(0)
    begun_course = course(pauses, mesh)

    assert mesh.observed == 1
    row = finished(begun_course).row
    assert (row.outcome, row.probes, row.seen) == (Outcome.FAIL, 1, "reset")


def test_failure_of_the_first_part_is_reported_with_the_second_part() -> None:
    """Catches: a violation at the start of the session that no row shows."""
    row = finished(course(fails_at_once, Mesh(1))).row
    assert (row.outcome, row.seen) == (Outcome.FAIL, "refused")


def test_check_in_two_parts_can_run_as_a_whole() -> None:
    """Catches: a check written as a generator that passes because its body never runs."""
    assert decided(pauses).row.outcome is Outcome.FAIL


def test_check_in_two_parts_can_be_cancelled() -> None:
    """Catches: a session that ends early and reports an error of the check."""
    begun_course = course(pauses, Mesh(1))
    begun_course.close()

    with pytest.raises(StopIteration):
        next(begun_course)
