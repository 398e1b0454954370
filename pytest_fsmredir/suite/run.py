"""One run of the suite: what is judged, on which variants, and what became of each check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import pytest

from pytest_fsmredir.backends.protocols import Backend, JudgedMesh, Wanted
from pytest_fsmredir.config.settings import BY_WEBHOOK, NETNS, Settings
from pytest_fsmredir.config.waivers import Waiver, stale
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.select import Claims, ClaimSource
from pytest_fsmredir.model.checks import GATE, Catalogue, Check, Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.backends import make_backend
from pytest_fsmredir.suite.deciding import (
    Result,
    as_failure,
    decide,
    not_judged,
    out_of_reach,
    undecided,
    unsupported,
)
from pytest_fsmredir.suite.gate import SHUT, Gate
from pytest_fsmredir.suite.judgement import (
    Measure,
    NodeResult,
    ProfileResult,
    Verdict,
    complete,
    concerns,
    judge,
    judge_nodes,
    worst,
    worst_of,
)
from pytest_fsmredir.suite.symptoms import symptom_of

RUN = pytest.StashKey["Run"]()

Watch = Callable[[str, int, int | None], None]
"""Told of each flow of a sweep: the check's name, flows so far, flows in all where known."""


def _nobody(_name: str, _done: int, _total: int | None) -> None:
    pass


@dataclass
class Run:
    """What the hooks of one process share.

    Attributes:
        settings: What the user asked for.
        catalogue: Every check there is.
        implementation: What is judged.
        variants: The points of the matrix.
        claims: What it claims, after the user's changes.
        privilege: How the process got its privileges.
        undenied: What this machine cannot deny an init command that a container runtime does.
        sidecar: Who plays the sidecar on network namespaces, with the release; empty for the
            recorder.
        generated: Those checks of the catalogue that are made up for this run.
        rows: The results so far, in the controlling process those of every worker.
        watch: Told of the progress of sweeps.
        started: When.
        trouble: What broke the harness; empty while it is whole.
        interrupted: The user ended it early.
        kept: What backends have left behind because that was asked for.
        left: What could not be removed, and why.
        remarks: What a reader of the verdict should know about what was judged.
        is_worker: The controlling process provides what all processes share of the backends.
        gate: Whether the implementation is judged at all.
    """

    settings: Settings
    catalogue: Catalogue
    implementation: Implementation
    variants: tuple[Variant, ...]
    claims: Claims
    privilege: str
    undenied: tuple[str, ...] = ()
    sidecar: str = ""
    generated: tuple[Check, ...] = ()
    rows: dict[tuple[str, Variant], Row] = field(default_factory=dict)
    watch: Watch = _nobody
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    trouble: str = ""
    interrupted: bool = False
    kept: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    is_worker: bool = False
    gate: Gate = field(default_factory=Gate)
    _of_gate: set[Variant] = field(default_factory=set)
    _backends: dict[str, Backend] = field(default_factory=dict)
    _unmade: dict[str, FsmRedirError] = field(default_factory=dict)

    @property
    def features(self) -> frozenset[Feature]:
        """What the implementation claims."""
        return self.claims.features

    @property
    def nodes(self) -> dict[str, tuple[str, ...]]:
        """Names of the nodes it is about, by backend; none where the scheduler chooses."""
        found: dict[str, dict[str, None]] = {}
        for variant in self.variants:
            if variant.node:
                found.setdefault(variant.backend, {})[variant.node] = None
        return {backend: tuple(names) for backend, names in found.items()}

    def variants_of(self, check: Check) -> list[Variant]:
        """Return the variants a check is wanted on."""
        return [
            variant
            for variant in self.variants
            if concerns(check, variant) and self._is_selected(check, variant)
        ]

    def record(self, row: Row) -> None:
        """Keep a result; a second one for the same check and variant is merged."""
        key = (row.check, row.variant)
        if row.check == GATE and row.variant in self._of_gate:
            self._of_gate.discard(row.variant)
            del self.rows[key]
        self.rows[key] = self.rows[key].merged(row) if key in self.rows else row

    def record_gate(self, row: Row) -> None:
        """Keep the result of the gate, which holds whether its check is selected or not."""
        if (row.check, row.variant) not in self.rows:
            self.rows[row.check, row.variant] = row
            self._of_gate.add(row.variant)

    @property
    def stopped_by_gate(self) -> bool:
        """Whether the gate is shut and its check, which would say why, did not run itself."""
        return bool(self._of_gate)

    def gate_row(self, row: Row) -> Row | None:
        """Return the row of the gate where the gate kept a check from running."""
        unmet = self.gate.shut_for(row.variant)
        if unmet is None or row.reason != SHUT:
            return None
        return not_judged(self.catalogue[GATE], row.variant, unmet).row

    def all_rows(self) -> list[tuple[Profile, Row]]:
        """Return one row for each check and variant of the catalogue, with its profile."""
        return complete(
            self.catalogue,
            self.variants,
            self.features,
            self.rows,
            self._is_selected,
            declared=self._declared,
        )

    def results(self) -> list[ProfileResult]:
        """Return what every profile comes to so far."""
        return judge(self.all_rows(), self._measure())

    def node_results(self) -> list[NodeResult]:
        """Return what every node that somebody has named comes to so far."""
        return judge_nodes(self.all_rows(), self._measure(), interrupted=self.interrupted)

    def verdict(self) -> Verdict:
        """Return what the whole run comes to so far: no better than any of its nodes."""
        if self.trouble:
            return Verdict.INVALID
        whole = worst(self.results(), interrupted=self.interrupted)
        return worst_of([whole, *(result.verdict for result in self.node_results())])

    def stale_waivers(self) -> list[Waiver]:
        """Return the waivers of checks that pass."""
        return stale(self.settings.waivers, self.rows.values())

    def failed(self) -> bool:
        """Whether anything happened that must not end in exit status 0."""
        bad = {Outcome.FAIL, Outcome.ERROR}
        if self.settings.strict:
            bad.add(Outcome.WARN)
        found = any(row.outcome in bad for row in self.rows.values())
        return found or bool(self.trouble) or bool(self.stale_waivers())

    def execute(self, check: Check, variant: Variant) -> Result:
        """Run one check, if it applies."""
        started = monotonic()
        result = self._execute(check, variant)
        seconds = round(monotonic() - started, 3)
        return replace(result, row=replace(result.row, seconds=seconds))

    def prepare(self, wanted: Iterable[tuple[Check, Variant]]) -> None:
        """Make what checks on backends in Kubernetes will want, all at once.

        Raises:
            FsmRedirError: A backend cannot be made, or something in it.
        """
        by_backend: dict[str, list[tuple[Check, Variant]]] = {}
        for check, variant in wanted:
            by_backend.setdefault(variant.backend, []).append((check, variant))
        for name in by_backend.keys() - {NETNS}:
            points = {variant: None for _, variant in by_backend[name]}
            first = [(self.catalogue[GATE], variant) for variant in points]
            self._backend(name).prepare(self._orders(name, [*first, *by_backend[name]]))

    def close(self) -> None:
        """Remove all pods."""
        with ExitStack() as undo:
            while self._backends:
                name, backend = self._backends.popitem()
                self.kept += [backend.kept] if backend.kept else []
                undo.enter_context(self.removing(name))
                undo.callback(backend.close)

    @contextmanager
    def removing(self, what: str) -> Iterator[None]:
        """Take note of what the block cannot remove: the verdict is to be told all the same."""
        try:
            yield
        except FsmRedirError as error:
            self.left.append(f"{what}: {error}")

    def _measure(self) -> Measure:
        return Measure(
            strict=self.settings.strict,
            stale=frozenset(waiver.id for waiver in self.stale_waivers()),
            broken=bool(self.trouble),
        )

    def _backend(self, name: str) -> Backend:
        """Return a backend, which is made on first use.

        Raises:
            FsmRedirError: It cannot be made; what failed once is not tried again.
        """
        if name in self._unmade:
            raise self._unmade[name]
        if name not in self._backends:
            try:
                self._backends[name] = self._made(name)
            except FsmRedirError as error:
                self._unmade[name] = error
                raise
        return self._backends[name]

    def _made(self, name: str) -> Backend:
        backend = make_backend(
            name,
            self.settings,
            self.implementation,
            is_worker=self.is_worker,
            nodes=self.nodes.get(name, ()),
        )
        self.remarks += backend.remarks
        return backend

    def _orders(self, name: str, wanted: Iterable[tuple[Check, Variant]]) -> Iterator[Wanted]:
        backend = self._backend(name)
        for check, variant in wanted:
            if not self._unclaimed(check, variant) and not _lacking(backend, check, variant):
                yield Wanted(check.function, variant.family, _iptables(variant), variant.node)

    @property
    def _declared(self) -> bool:
        return self.claims.source is ClaimSource.DECLARED

    def _unclaimed(self, check: Check, variant: Variant) -> frozenset[Feature]:
        return check.unclaimed(variant.family, self.features, declared=self._declared)

    def _is_selected(self, check: Check, variant: Variant) -> bool:
        return self.settings.selects(check.id, check.profile_for(variant.family))

    def _execute(self, check: Check, variant: Variant) -> Result:
        if missing := self._unclaimed(check, variant):
            return unsupported(check, variant, missing)
        try:
            backend = self._backend(variant.backend)
        except FsmRedirError as error:
            return undecided(check, variant, error)
        if lacking := _lacking(backend, check, variant):
            return out_of_reach(check, variant, lacking)
        mesh = backend.mesh(
            variant.family,
            _iptables(variant),
            exhaustive=self.settings.exhaustive,
            node=variant.node,
        )
        mesh.watch = partial(self.watch, f"{check.id}[{variant}]")
        try:
            if (unmet := self.gate.refusal(variant, mesh)) is not None:
                return self._weighed(not_judged(check, variant, unmet), check)
            result = _with_symptom(decide(check, variant, mesh), mesh)
        finally:
            mesh.close()
        return self._weighed(result, check)

    def _weighed(self, result: Result, check: Check) -> Result:
        """Say what a violated requirement means for this run: a failure, a waiver, or neither."""
        row = result.row
        fails = row.outcome is Outcome.FAIL or (
            row.outcome is Outcome.WARN and self.settings.strict
        )
        if not fails:
            return result
        for waiver in self.settings.waivers:
            if waiver.id == check.id:
                waived = replace(row, outcome=Outcome.WAIVED)
                return Result(waived, skipped=f"waived: {waiver.reason} ({waiver.link})")
        return as_failure(row, check, self.settings.again(check.id, row.variant))


def _with_symptom(result: Result, mesh: JudgedMesh) -> Result:
    claim = result.claim
    if claim is None:
        return result
    symptom = symptom_of(claim.fate, claim.expected, mesh)
    return replace(result, row=replace(result.row, symptom=symptom))


def _lacking(backend: Backend, check: Check, variant: Variant) -> list[str]:
    """Return what a check wants and the backend does not have."""
    if variant.family not in backend.families:
        return [f"pods with IPv{variant.family} addresses"]
    return [str(need) for need in check.needs - backend.offers(variant.family)]


def _iptables(variant: Variant) -> IptablesVariant:
    """Return the variant that our own programs are of, which a mesh need not heed."""
    name = IptablesVariant.NFT if variant.iptables == BY_WEBHOOK else variant.iptables
    return IptablesVariant(name)
