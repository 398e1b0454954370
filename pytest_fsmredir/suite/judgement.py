"""Compute verdicts from the catalogue and the results, independent of pytest's exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pytest_fsmredir.config.waivers import Waiver, stale
from pytest_fsmredir.model.checks import Catalogue, Check, Profile
from pytest_fsmredir.model.claims import PROVED, reasons_of
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.model.rule_use import RuleUse
from pytest_fsmredir.suite.plan import Plan, concerns
from pytest_fsmredir.suite.results import Results

EVERY_FLOW = "ALL-"
"""Prefix of the checks that compare every flow."""
_EVERY_FLOW_OF_REPLAY = ("POD-002", "POD-004")
"""The checks that compare every flow in a captured pod, in place of the others."""


class Verdict(StrEnum):
    """The verdict of a profile, a node or a run."""

    CONFORMANT = "conformant"
    PARTIAL = "partial"
    NONCONFORMANT = "nonconformant"
    INVALID = "invalid"
    NOT_CLAIMED = "not claimed"
    NOT_RUN = "not run"


_WITHOUT_RESULT = (Outcome.NOT_RUN, Outcome.UNSUPPORTED)
_FAILED = (Verdict.INVALID, Verdict.NONCONFORMANT)
_WORST_FIRST = (Verdict.INVALID, Verdict.NONCONFORMANT, Verdict.PARTIAL, Verdict.CONFORMANT)


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """The counts and the verdict of one profile.

    Attributes:
        profile: The profile.
        verdict: Its verdict.
        counts: Rows per outcome.
        seconds: How long its checks took.
        proof: Whether its checks of every flow proved their claims, or why not; empty if some of
            them did not run or failed, or if they proved their claims and another check failed.
    """

    profile: Profile
    verdict: Verdict
    counts: Counter[Outcome]
    seconds: float = 0.0
    proof: str = ""

    @property
    def proved(self) -> bool:
        """Whether all its checks of every flow ran and proved their claims."""
        return self.proof.startswith(PROVED)

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.counts.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How to judge rows.

    Attributes:
        strict: Whether a violated SHOULD makes a profile nonconformant.
        stale: Checks that pass although they are waived. Their profiles are invalid.
        broken: Whether the harness broke. Every profile is invalid then.
    """

    strict: bool
    stale: frozenset[str] = frozenset()
    broken: bool = False


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The counts and the verdict of one node.

    Attributes:
        backend: The backend of the node.
        node: Its name.
        verdict: The verdict for this node alone. A check that its backend cannot run counts as run
            if another backend of the same run ran it.
        counts: Rows per outcome.
    """

    backend: str
    node: str
    verdict: Verdict
    counts: Counter[Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of a run.

    Attributes:
        verdict: The verdict of the whole run: that of its worst profile or node.
        profiles: The result of every profile that has rows.
        nodes: The result of every named node.
        rows: One row with its profile for every check and variant, whether it ran or not.
        stale_waivers: The waivers of checks that pass.
        failed: Whether the exit status must not be 0.
    """

    verdict: Verdict
    profiles: list[ProfileResult]
    nodes: list[NodeResult]
    rows: list[tuple[Profile, Row]]
    stale_waivers: list[Waiver]
    failed: bool


def judge_run(plan: Plan, results: Results) -> Judgement:
    """Return the judgement of a run from its results so far."""
    rows = complete(
        plan.catalogue,
        plan.variants,
        plan.features,
        results.rows,
        plan.selects,
        declared=plan.declared,
    )
    waivers = stale(plan.settings.waivers, results.rows.values())
    measure = Measure(
        strict=plan.settings.strict,
        stale=frozenset(waiver.id for waiver in waivers),
        broken=bool(results.trouble),
    )
    profiles = judge(rows, measure)
    nodes = judge_nodes(rows, measure, interrupted=results.interrupted)
    bad = {Outcome.FAIL, Outcome.ERROR, *({Outcome.WARN} if measure.strict else ())}
    return Judgement(
        verdict=whole_verdict(profiles, nodes, measure, interrupted=results.interrupted),
        profiles=profiles,
        nodes=nodes,
        rows=rows,
        stale_waivers=waivers,
        failed=measure.broken
        or bool(waivers)
        or any(row.outcome in bad for row in results.rows.values()),
    )


def judge_node(plan: Plan, results: Results, backend: str, node: str) -> NodeResult:
    """Return the result of one node, whose checks have ended.

    Checks without a node that have not ended yet count as not run.
    """
    rows = complete(
        plan.catalogue,
        [each for each in plan.variants if not each.node or _is_on(each, backend, node)],
        plan.features,
        results.rows,
        plan.selects,
        declared=plan.declared,
    )
    # Whether a waiver is stale is not known before the checks of the other nodes have ended.
    (result,) = judge_nodes(rows, Measure(strict=plan.settings.strict))
    return result


def _is_on(variant: Variant, backend: str, node: str) -> bool:
    return (variant.backend, variant.node) == (backend, node)


def whole_verdict(
    profiles: Iterable[ProfileResult],
    nodes: Iterable[NodeResult],
    measure: Measure,
    *,
    interrupted: bool,
) -> Verdict:
    """Return the verdict of a run: that of its worst profile or node.

    Args:
        profiles: The result of every profile.
        nodes: The result of every named node.
        measure: How they were judged.
        interrupted: Whether the user ended the run early.
    """
    whole = worst(profiles, interrupted=interrupted)
    verdict = worst_of([whole, *(node.verdict for node in nodes)])
    return Verdict.INVALID if measure.broken else verdict


def complete(
    catalogue: Catalogue,
    variants: Iterable[Variant],
    features: frozenset[Feature],
    rows: Mapping[tuple[str, Variant], Row],
    selected: Callable[[Check, Variant], bool] = lambda _check, _variant: True,
    *,
    declared: bool = False,
) -> list[tuple[Profile, Row]]:
    """Return one row for every check and variant of the catalogue, whether it ran or not.

    Args:
        catalogue: All checks.
        variants: The points of the matrix.
        features: What the implementation claims.
        rows: The rows of the checks that ran.
        selected: Whether the user selected a check on a variant.
        declared: Whether the claims are declared, not inferred.
    """
    every = []
    for check in catalogue.checks:
        for variant in variants:
            if not concerns(check, variant):
                continue
            row = rows.get((check.id, variant))
            if row is None:
                unclaimed = check.unclaimed(variant.family, features, declared=declared)
                row = _absent(check, variant, unclaimed, selected)
            every.append((check.profile_for(variant.family), row))
    return every


def judge(
    rows: Iterable[tuple[Profile, Row]],
    measure: Measure,
    *,
    elsewhere: Iterable[tuple[Profile, Row]] = (),
) -> list[ProfileResult]:
    """Return the result of every profile that has rows.

    Args:
        rows: The rows of the whole catalogue, each with its profile.
        measure: How to judge them.
        elsewhere: Other rows of the same run, which are not judged. Their checks count as run.
    """
    every = list(rows)
    grouped: dict[Profile, list[Row]] = {}
    for profile, row in every:
        grouped.setdefault(profile, []).append(row)
    ran = frozenset(
        _subject(row) for _, row in [*every, *elsewhere] if row.outcome not in _WITHOUT_RESULT
    )
    results = []
    for profile in (each for each in Profile if each in grouped):
        of_profile = grouped[profile]
        invalid = measure.broken or any(row.check in measure.stale for row in of_profile)
        verdict = Verdict.INVALID if invalid else _verdict(of_profile, ran, strict=measure.strict)
        seconds = sum(row.seconds for row in of_profile)
        counts, proof = _counts(of_profile), _proof(of_profile)
        if verdict in _FAILED and proof.startswith(PROVED):
            proof = ""  # a proof about the rules would read as if the profile passed
        results.append(ProfileResult(profile, verdict, counts, seconds, proof))
    return results


def judge_nodes(
    rows: Sequence[tuple[Profile, Row]], measure: Measure, *, interrupted: bool = False
) -> list[NodeResult]:
    """Return the result of every named node, in the order of the matrix.

    Args:
        rows: The rows of the whole catalogue, each with its profile.
        measure: How to judge them.
        interrupted: Whether the user ended the run early.
    """
    grouped: dict[tuple[str, str], list[tuple[Profile, Row]]] = {}
    for profile, row in rows:
        grouped.setdefault((row.variant.backend, row.variant.node), []).append((profile, row))
    elsewhere = [each for (_, node), members in grouped.items() if not node for each in members]
    return [
        NodeResult(
            backend,
            node,
            worst(judge(members, measure, elsewhere=elsewhere), interrupted=interrupted),
            _counts([row for _, row in members]),
        )
        for (backend, node), members in grouped.items()
        if node
    ]


def worst_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts of whole runs; without any, that of an empty run."""
    found = set(verdicts)
    return next((each for each in _WORST_FIRST if each in found), Verdict.INVALID)


def worst(results: Iterable[ProfileResult], *, interrupted: bool = False) -> Verdict:
    """Return the verdict of the whole run: that of its worst profile.

    A profile that did not run makes a conformant run partial, and so does an interruption. An empty
    run is invalid.
    """
    found = {result.verdict for result in results}
    verdict = worst_of(found)
    partly = verdict is Verdict.CONFORMANT and (interrupted or Verdict.NOT_RUN in found)
    return Verdict.PARTIAL if partly else verdict


def _absent(
    check: Check,
    variant: Variant,
    unclaimed: frozenset[Feature],
    selected: Callable[[Check, Variant], bool],
) -> Row:
    """Return the row of a check that did not run."""
    if unclaimed:
        outcome, reason = Outcome.UNSUPPORTED, f"not claimed: {', '.join(sorted(unclaimed))}"
    elif selected(check, variant):
        outcome, reason = Outcome.NOT_RUN, "selected, but it did not run"
    else:
        outcome, reason = Outcome.NOT_RUN, "not selected"
    return Row(check=check.id, variant=variant, outcome=outcome, reason=reason)


def of_every_flow(checks: Iterable[str]) -> frozenset[str]:
    """Return those of a run's checks that compare every flow; a replay has its own."""
    found = frozenset(checks)
    replayed = found.intersection(_EVERY_FLOW_OF_REPLAY)
    return replayed or frozenset(each for each in found if each.startswith(EVERY_FLOW))


def _proof(rows: list[Row]) -> str:
    checks = of_every_flow(row.check for row in rows)
    about_all = [row for row in rows if row.check in checks]
    if reasons := reasons_of(row.proof for row in about_all):
        return f"not proved: {'; '.join(reasons)}"
    if not about_all or not all(row.proof and row.outcome is Outcome.PASS for row in about_all):
        return ""
    use = RuleUse.joined(use for row in about_all for use in row.rules)
    validated = f"{use.shown} of {use.conditions} conditions validated"
    return f"proved for every address, port and user ({validated})"


def _counts(rows: list[Row]) -> Counter[Outcome]:
    return Counter(row.outcome for row in rows)


def _subject(row: Row) -> tuple[str, int]:
    """Return the check and the IP version of a row."""
    return row.check, row.variant.family


def _verdict(rows: list[Row], ran: frozenset[tuple[str, int]], *, strict: bool) -> Verdict:
    counts = _counts(rows)
    if counts[Outcome.UNSUPPORTED] == len(rows):
        return Verdict.NOT_CLAIMED
    if counts[Outcome.ERROR]:
        return Verdict.INVALID
    if counts[Outcome.FAIL] or (strict and counts[Outcome.WARN]):
        return Verdict.NONCONFORMANT
    if all(row.outcome in _WITHOUT_RESULT for row in rows):
        return Verdict.NOT_RUN
    if not any(row.probes for row in rows):
        return Verdict.INVALID
    # Another backend of the same run may have run the checks that this backend cannot run.
    missing = any(
        row.outcome is Outcome.NOT_RUN and not (row.out_of_reach and _subject(row) in ran)
        for row in rows
    )
    return Verdict.PARTIAL if counts[Outcome.WAIVED] or missing else Verdict.CONFORMANT
