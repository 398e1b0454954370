"""From the rows of a run to its verdict."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.checks import MUST, Catalogue, Check, Profile
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.judgement import (
    Measure,
    ProfileResult,
    Verdict,
    complete,
    judge,
    worst,
)

V4, V6 = Variant("netns", "nft", 4), Variant("netns", "nft", 6)
IN_KIND = Variant("kind", "nft", 4)
IPV4_ONLY = ALL_FEATURES - {Feature.IPV6}


def check(check_id: str, profile: Profile = Profile.CORE, *features: Feature) -> Check:
    return Check(
        id=check_id,
        requirement="It MUST.",
        spec="SPEC-1.1",
        level=MUST,
        profile=profile,
        features=frozenset(features),
        needs=frozenset(),
        families=(4, 6),
        function=lambda _mesh: None,
    )


def row(outcome: Outcome, check_id: str = "OUT-001", probes: int = 1) -> Row:
    return Row(check=check_id, variant=V4, outcome=outcome, probes=probes)


def verdict_of(*rows: Row, strict: bool = False) -> Verdict:
    (result,) = judge([(Profile.CORE, each) for each in rows], Measure(strict=strict))
    return result.verdict


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([Outcome.PASS], Verdict.CONFORMANT),
        ([Outcome.PASS, Outcome.WARN, Outcome.NOTE], Verdict.CONFORMANT),
        ([Outcome.PASS, Outcome.UNSUPPORTED], Verdict.CONFORMANT),
        ([Outcome.PASS, Outcome.NOT_RUN], Verdict.PARTIAL),
        ([Outcome.PASS, Outcome.WAIVED], Verdict.PARTIAL),
        ([Outcome.WAIVED], Verdict.PARTIAL),
        ([Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN], Verdict.NONCONFORMANT),
        ([Outcome.FAIL, Outcome.ERROR], Verdict.INVALID),
        ([Outcome.PASS, Outcome.ERROR], Verdict.INVALID),
        ([Outcome.NOT_RUN, Outcome.UNSUPPORTED], Verdict.NOT_RUN),
        ([Outcome.UNSUPPORTED], Verdict.NOT_CLAIMED),
    ],
)
def test_verdict_of_a_profile_is_that_of_its_worst_row(
    outcomes: list[Outcome], verdict: Verdict
) -> None:
    """Catches: a conformant profile with a missing check, or a harness fault as failure."""
    assert verdict_of(*map(row, outcomes)) is verdict


def test_reason_of_several_checks_is_named_once() -> None:
    """Catches: a line of a profile that repeats one condition until nothing else fits."""
    limit, unsent = "it depends on -m limit (in OUT)", "not sent: a packet"
    rows = [
        Row(check=name, variant=V4, outcome=Outcome.PASS, probes=1, proof=proof)
        for name, proof in (("ALL-001", f"{limit}; {limit}"), ("ALL-002", f"{limit}; {unsent}"))
    ]
    (result,) = judge([(Profile.CORE, each) for each in rows], Measure(strict=False))
    assert result.proof == f"not proved: {limit}; {unsent}"


def test_violated_should_counts_when_strict() -> None:
    """Catches: a ``--fsm-strict`` that changes the exit status but not the verdict."""
    assert verdict_of(row(Outcome.WARN), strict=True) is Verdict.NONCONFORMANT


@pytest.mark.parametrize(
    ("other", "proved"), [(Outcome.PASS, True), (Outcome.FAIL, False), (Outcome.ERROR, False)]
)
def test_profile_that_fails_is_not_called_proved(other: Outcome, proved: bool) -> None:
    """Catches: a failed profile whose line reads as if everything were right."""
    every_flow = Row(check="ALL-001", variant=V4, outcome=Outcome.PASS, probes=1, proof="proved")
    (result,) = judge(
        [(Profile.CORE, every_flow), (Profile.CORE, row(other))], Measure(strict=False)
    )
    assert (result.proved, bool(result.proof)) == (proved, proved)


def test_run_that_observed_no_flow_is_invalid() -> None:
    """Catches: a conformant verdict from checks that observed nothing."""
    assert verdict_of(row(Outcome.PASS, probes=0)) is Verdict.INVALID


def test_stale_waiver_invalidates_only_its_profile() -> None:
    """Catches: a waiver that hides a check forever although the check passes."""
    rows = [(Profile.CORE, row(Outcome.PASS)), (Profile.IPV6, row(Outcome.PASS, "OUT-002"))]
    core, ipv6 = judge(rows, Measure(strict=False, stale=frozenset({"OUT-001"})))
    assert (core.verdict, ipv6.verdict) == (Verdict.INVALID, Verdict.CONFORMANT)


def test_broken_harness_makes_every_profile_invalid() -> None:
    """Catches: a certificate from a run that crashed."""
    (result,) = judge([(Profile.CORE, row(Outcome.PASS))], Measure(strict=False, broken=True))
    assert result.verdict is Verdict.INVALID


def result(verdict: Verdict) -> ProfileResult:
    (made,) = judge([(Profile.CORE, row(Outcome.PASS))], Measure(strict=False))
    return ProfileResult(made.profile, verdict, made.counts)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([Verdict.CONFORMANT, Verdict.NOT_CLAIMED], Verdict.CONFORMANT),
        ([Verdict.CONFORMANT, Verdict.NOT_RUN], Verdict.PARTIAL),
        ([Verdict.CONFORMANT, Verdict.PARTIAL], Verdict.PARTIAL),
        ([Verdict.PARTIAL, Verdict.NONCONFORMANT], Verdict.NONCONFORMANT),
        ([Verdict.NONCONFORMANT, Verdict.INVALID], Verdict.INVALID),
        ([Verdict.NOT_RUN], Verdict.INVALID),
        ([], Verdict.INVALID),
    ],
)
def test_verdict_of_a_run_is_that_of_its_worst_profile(
    verdicts: list[Verdict], whole: Verdict
) -> None:
    """Catches: a conformant run of one profile out of five, or of none."""
    assert worst(map(result, verdicts)) is whole


def test_interrupted_run_is_partial_at_best() -> None:
    """Catches: a certificate from an interrupted run."""
    assert worst([result(Verdict.CONFORMANT)], interrupted=True) is Verdict.PARTIAL
    assert worst([result(Verdict.NONCONFORMANT)], interrupted=True) is Verdict.NONCONFORMANT


def test_every_check_and_variant_has_a_row() -> None:
    """Catches: a deselected check that is missing from the report."""
    catalogue = Catalogue([check("OUT-001"), check("OUT-002")])
    ran = {("OUT-001", V4): row(Outcome.PASS)}

    rows = complete(catalogue, [V4, V6], ALL_FEATURES, ran, lambda each, _: each.id == "OUT-002")

    assert [(r.check, r.variant.family, r.outcome, r.reason) for _, r in rows] == [
        ("OUT-001", 4, Outcome.PASS, ""),
        ("OUT-001", 6, Outcome.NOT_RUN, "not selected"),
        ("OUT-002", 4, Outcome.NOT_RUN, "selected, but it did not run"),
        ("OUT-002", 6, Outcome.NOT_RUN, "selected, but it did not run"),
    ]


def test_unclaimed_feature_is_unsupported_even_where_nothing_ran() -> None:
    """Catches: a profile with "not run" although the implementation does not claim its feature."""
    catalogue = Catalogue([check("EXC-001", Profile.EXCLUSIONS, Feature.OUTBOUND_PORT_EXCLUSION)])
    ((profile, absent),) = complete(catalogue, [V4], frozenset(), {})
    assert (profile, absent.outcome) == (Profile.EXCLUSIONS, Outcome.UNSUPPORTED)


@pytest.mark.parametrize(
    ("declared", "outcome"), [(True, Outcome.UNSUPPORTED), (False, Outcome.NOT_RUN)]
)
def test_leak_of_ipv6_counts_unless_ipv6_is_declared_unsupported(
    declared: bool, outcome: Outcome
) -> None:
    """Catches: a silent leak of IPv6, or a failure where IPv6 is declared unsupported."""
    catalogue = Catalogue([check("LEAK-001", Profile.IPV6)])
    ((_, found),) = complete(catalogue, [V6], IPV4_ONLY, {}, declared=declared)
    assert found.outcome is outcome


@pytest.mark.parametrize("first", [Outcome.FAIL, Outcome.ERROR, Outcome.WAIVED, Outcome.WARN])
def test_pass_at_the_second_try_does_not_count(first: Outcome) -> None:
    """Catches: a re-run plugin that turns a failure into a pass."""
    for one, other in [(row(first), row(Outcome.PASS)), (row(Outcome.PASS), row(first))]:
        assert one.merged(other).outcome is first
        assert one.merged(other).attempts == 2


def test_row_survives_the_transfer_from_a_worker() -> None:
    """Catches: a result that a pytest-xdist worker cannot send, or that changes on the way."""
    sent = Row(
        check="OUT-001", variant=V6, outcome=Outcome.WAIVED, reason="r", flow="f", expected="e",
        seen="s", probes=3, attempts=2, seconds=0.5,
    )  # fmt: skip
    assert Row.from_dict(sent.as_dict()) == sent


def out_of_reach(variant: Variant = IN_KIND) -> Row:
    return Row(check="OUT-001", variant=variant, outcome=Outcome.NOT_RUN, out_of_reach=True)


def test_another_backend_can_cover_an_unavailable_check() -> None:
    """Catches: a matrix that is never conformant, or a conformant cluster that skipped checks."""
    assert verdict_of(row(Outcome.PASS), out_of_reach()) is Verdict.CONFORMANT
    assert verdict_of(row(Outcome.PASS, "OUT-002"), out_of_reach()) is Verdict.PARTIAL
    assert verdict_of(row(Outcome.UNSUPPORTED), out_of_reach()) is Verdict.NOT_RUN


def test_other_ip_version_does_not_cover_a_check() -> None:
    """Catches: IPv6 certified in a cluster without IPv6, because another backend checked IPv4."""
    other = out_of_reach(Variant("kind", "nft", 6))
    assert verdict_of(row(Outcome.PASS), other) is Verdict.PARTIAL


def test_deselected_check_is_missing_on_every_backend() -> None:
    """Catches: a deselected check that counts as run because another backend ran it."""
    left_out = Row(check="OUT-001", variant=IN_KIND, outcome=Outcome.NOT_RUN)
    assert verdict_of(row(Outcome.PASS), left_out) is Verdict.PARTIAL


def test_checks_of_kubernetes_have_no_row_without_a_cluster() -> None:
    """Catches: a run in network namespaces that can never be conformant."""
    catalogue = Catalogue([check("KUBE-001", Profile.KUBERNETES)])

    rows = complete(catalogue, [V4, IN_KIND], ALL_FEATURES, {})

    assert [r.variant for _, r in rows] == [IN_KIND]
