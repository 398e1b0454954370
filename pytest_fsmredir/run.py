"""One run of the suite: what is judged, on which variants, and what became of each check."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.programs import Confinement
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.options import Settings
from pytest_fsmredir.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.verdict import ProfileResult, complete, judge
from pytest_fsmredir.spec.checks import Catalogue, Check, Level
from pytest_fsmredir.spec.features import Feature

RUN = pytest.StashKey["Run"]()

_VIOLATED = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN, Level.INFO: Outcome.NOTE}


class Violated(AssertionError):
    """The implementation violates a requirement; the text explains it over several lines."""


class Undecided(FsmRedirError):
    """A check could not be decided: the harness, or the check itself, is at fault."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of running one check.

    Attributes:
        row: For the report.
        error: For pytest to raise; None when the run is no failure.
    """

    row: Row
    error: Exception | None = None


@dataclass
class Run:
    """What the hooks of one process share.

    Attributes:
        settings: What the user asked for.
        catalogue: Every check there is.
        implementation: What is judged.
        variants: The points of the matrix.
        features: What it claims, after the user's changes.
        privilege: How the process got its privileges.
        rows: The results so far, in the controlling process those of every worker.
    """

    settings: Settings
    catalogue: Catalogue
    implementation: Implementation
    variants: tuple[Variant, ...]
    features: frozenset[Feature]
    privilege: str
    rows: dict[tuple[str, Variant], Row] = field(default_factory=dict)
    _backend: NetnsBackend | None = None

    def variants_of(self, check: Check) -> list[Variant]:
        """Return the variants a check is wanted on."""
        return [
            variant
            for variant in self.variants
            if variant.family in check.families
            and self.settings.selects(check.id, check.profile_for(variant.family))
        ]

    def record(self, row: Row) -> None:
        """Keep a result; a second one for the same check and variant is merged."""
        key = (row.check, row.variant)
        self.rows[key] = self.rows[key].merged(row) if key in self.rows else row

    def results(self) -> list[ProfileResult]:
        """Return what every profile comes to so far."""
        every = complete(self.catalogue, self.variants, self.features, self.rows)
        return judge(every, strict=self.settings.strict)

    def execute(self, check: Check, variant: Variant) -> Result:
        """Run one check, if it applies, and tell its outcome by the type of what it raises."""
        if missing := check.features_for(variant.family) - self.features:
            reason = f"not claimed: {', '.join(sorted(missing))}"
            return _result(check, variant, Outcome.UNSUPPORTED, reason)
        backend = self.backend
        if unmet := check.needs - backend.offers:
            reason = f"the backend lacks: {', '.join(sorted(unmet))}"
            return _result(check, variant, Outcome.NOT_RUN, reason)
        mesh = backend.mesh(
            variant.family, IptablesVariant(variant.iptables), exhaustive=self.settings.exhaustive
        )
        try:
            return self._decide(check, variant, mesh)
        finally:
            mesh.close()

    @property
    def backend(self) -> NetnsBackend:
        """The backend, made on first use."""
        if self._backend is None:
            self._backend = NetnsBackend(
                self.implementation,
                families=self.settings.families,
                timeout_s=self.settings.timeout_s,
                confinement=Confinement(timeout_s=self.settings.init_timeout_s),
            )
        return self._backend

    def close(self) -> None:
        """Remove all pods."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _decide(self, check: Check, variant: Variant, mesh: NetnsMesh) -> Result:
        try:
            check.function(mesh)
        except AssertionError as error:
            return self._violated(check, variant, mesh, _first_line(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            return _undecided(check, variant, reason, cause=error)
        if mesh.observed == 0:
            return _undecided(check, variant, "the check sent nothing")
        return _result(check, variant, Outcome.PASS, probes=mesh.observed)

    def _violated(self, check: Check, variant: Variant, mesh: NetnsMesh, seen: str) -> Result:
        outcome = _VIOLATED[check.level]
        fails = outcome is Outcome.FAIL or (outcome is Outcome.WARN and self.settings.strict)
        error = Violated(_explanation(check, variant, seen)) if fails else None
        return _result(check, variant, outcome, seen, mesh.observed, error)


def _result(
    check: Check,
    variant: Variant,
    outcome: Outcome,
    reason: str = "",
    probes: int = 0,
    error: Exception | None = None,
) -> Result:
    row = Row(check=check.id, variant=variant, outcome=outcome, reason=reason, probes=probes)
    return Result(row, error)


def _undecided(
    check: Check, variant: Variant, reason: str, cause: Exception | None = None
) -> Result:
    error = Undecided(
        f"{check.id} could not be decided. This is an error of the harness or of the machine,"
        f" not of the implementation: {reason}"
    )
    error.__cause__ = cause
    return _result(check, variant, Outcome.ERROR, reason, error=error)


def _explanation(check: Check, variant: Variant, seen: str) -> str:
    return "\n".join(
        [
            f"{check.id} {check.title}",
            f"  requirement  {check.requirement}  [{check.spec}]",
            f"  on           {variant}",
            f"  what         {seen}",
            f"  again        pytest --fsm-conformance --fsm-check {check.id}",
        ]
    )


def _first_line(error: BaseException) -> str:
    """Return what an assertion says: pytest's rewriting puts the claim on the first line."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].removeprefix("assert ")
