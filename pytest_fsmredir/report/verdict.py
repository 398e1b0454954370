"""Verdicts: the catalogue compared with what ran. Pytest's exit status has no say in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pytest_fsmredir.outcomes import Outcome, Row, Variant
from pytest_fsmredir.spec.checks import Catalogue, Profile
from pytest_fsmredir.spec.features import Feature


class Verdict(StrEnum):
    """What a profile comes to."""

    CONFORMANT = "conformant"
    PARTIAL = "partial"
    NONCONFORMANT = "nonconformant"
    INVALID = "invalid"
    NOT_CLAIMED = "not claimed"
    NOT_RUN = "not run"


_WORST_FIRST = (Verdict.INVALID, Verdict.NONCONFORMANT, Verdict.PARTIAL, Verdict.CONFORMANT)


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """One profile's rows, counted and judged.

    Attributes:
        profile: Which.
        verdict: What it comes to.
        counts: Rows per outcome.
    """

    profile: Profile
    verdict: Verdict
    counts: Counter[Outcome]

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.counts.total()


def complete(
    catalogue: Catalogue,
    variants: Iterable[Variant],
    features: frozenset[Feature],
    rows: Mapping[tuple[str, Variant], Row],
) -> list[tuple[Profile, Row]]:
    """Return one row for every check and variant of the catalogue, ran or not."""
    every = []
    for check in catalogue.checks:
        for variant in variants:
            if variant.family not in check.families:
                continue
            row = rows.get((check.id, variant))
            if row is None:
                unclaimed = check.features_for(variant.family) - features
                row = Row(
                    check=check.id,
                    variant=variant,
                    outcome=Outcome.UNSUPPORTED if unclaimed else Outcome.NOT_RUN,
                    reason=f"not claimed: {', '.join(sorted(unclaimed))}" if unclaimed else "",
                )
            every.append((check.profile_for(variant.family), row))
    return every


def judge(rows: Iterable[tuple[Profile, Row]], *, strict: bool) -> list[ProfileResult]:
    """Return the result of every profile that has rows."""
    grouped: dict[Profile, list[Row]] = {}
    for profile, row in rows:
        grouped.setdefault(profile, []).append(row)
    return [
        ProfileResult(profile, _verdict(grouped[profile], strict), _counts(grouped[profile]))
        for profile in Profile
        if profile in grouped
    ]


def worst(results: Iterable[ProfileResult]) -> Verdict:
    """Return the verdict of the whole run: that of its worst profile.

    A profile that did not run makes a conformant run partial; a run of nothing is invalid.
    """
    found = {result.verdict for result in results}
    verdict = next((each for each in _WORST_FIRST if each in found), Verdict.INVALID)
    partly = verdict is Verdict.CONFORMANT and Verdict.NOT_RUN in found
    return Verdict.PARTIAL if partly else verdict


def _counts(rows: list[Row]) -> Counter[Outcome]:
    return Counter(row.outcome for row in rows)


def _verdict(rows: list[Row], strict: bool) -> Verdict:
    counts = _counts(rows)
    if counts[Outcome.UNSUPPORTED] == len(rows):
        return Verdict.NOT_CLAIMED
    if counts[Outcome.ERROR]:
        return Verdict.INVALID
    if counts[Outcome.FAIL] or (strict and counts[Outcome.WARN]):
        return Verdict.NONCONFORMANT
    if counts[Outcome.NOT_RUN] + counts[Outcome.UNSUPPORTED] == len(rows):
        return Verdict.NOT_RUN
    if not any(row.probes for row in rows):
        return Verdict.INVALID
    if counts[Outcome.WAIVED] or counts[Outcome.NOT_RUN]:
        return Verdict.PARTIAL
    return Verdict.CONFORMANT
