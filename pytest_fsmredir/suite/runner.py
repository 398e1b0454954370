"""Run the checks of a plan on its backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.backends.protocols import Backend, JudgedMesh, Suspect, Wanted
from pytest_fsmredir.config.parsing import NETNS
from pytest_fsmredir.config.settings import BY_WEBHOOK
from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.checks import GATE, Check
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.followed import Delivery
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.backends import make_backend
from pytest_fsmredir.suite.deciding import (
    Course,
    Result,
    as_failure,
    begun,
    deciding,
    finished,
    not_judged,
    out_of_reach,
    undecided,
    unsupported,
)
from pytest_fsmredir.suite.evidence import Evidence
from pytest_fsmredir.suite.gate import SHUT, Gate
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results
from pytest_fsmredir.suite.symptoms import symptom_of
from pytest_fsmredir.suite.uncovered import UNCLAIMED, open_over_ipv6
from pytest_fsmredir.text import printable

if TYPE_CHECKING:
    from pytest_fsmredir.rules.why.explain import Explanation

_EXPLAINED = frozenset({Outcome.FAIL, Outcome.WARN})
RUNNER = pytest.StashKey["Runner"]()

Pause = Callable[[Row, JudgedMesh, Suspect], None]
"""A callback for each failure: the row, the mesh of the check, and the pod of the flow."""

Watch = Callable[[str, int, int | None], None]
"""A callback for each flow of a sweep: the check's name, flows so far, total flows if known."""


def _ignore(_name: str, _done: int, _total: int | None) -> None:
    pass


_RENEWALS = 3
"""Times that a check runs again because a place that all checks share was lost."""


def _go_on(_row: Row, _mesh: JudgedMesh, _pod: Suspect) -> None:
    pass


class Runner:
    """Runs checks, and owns the backends.

    Attributes:
        plan: The plan of the run.
        results: Collects remarks about backends. The caller records the rows.
        watch: Receives the progress of sweeps.
        evidence: Writes the evidence of failures.
        pause: Called at each failure, before the pods of the check are removed.
    """

    def __init__(self, plan: Plan, results: Results) -> None:
        self.plan, self.results = plan, results
        self.watch: Watch = _ignore
        self.pause: Pause = _go_on
        self.evidence = Evidence(plan.settings)
        self._gate = Gate()
        self._backends: dict[str, Backend] = {}
        self._failed: dict[str, FsmRedirError] = {}
        self._checked_ipv6: set[Variant] = set()
        self._begun: dict[tuple[str, Variant], Course] = {}

    def execute(self, check: Check, variant: Variant) -> Result:
        """Run one check if it applies."""
        started = monotonic()
        result = self._executed(check, variant)
        for _ in range(_RENEWALS):
            if result.row.outcome is not Outcome.ERROR or not self._renewed(variant):
                break
            result = self._executed(check, variant)
        seconds = round(monotonic() - started, 3)
        return replace(result, row=replace(result.row, seconds=seconds))

    def _executed(self, check: Check, variant: Variant) -> Result:
        self.begin([(check, variant)])
        return finished(self._begun.pop((check.id, variant)))

    def _renewed(self, variant: Variant) -> bool:
        """Whether the backend has replaced a lost place that all checks share."""
        backend = self._backends.get(variant.backend)
        try:
            return backend is not None and backend.renew()
        except FsmRedirError:
            return False  # the checks report that the place is lost

    def gate_row(self, row: Row) -> Row | None:
        """Return the row of the gate if the gate prevented a check from running."""
        unmet = self._gate.shut_for(row.variant)
        if unmet is None or row.reason != SHUT:
            return None
        return not_judged(self.plan.catalogue[GATE], row.variant, unmet).row

    def begin(self, wanted: Iterable[tuple[Check, Variant]]) -> None:
        """Run the first part of some checks; run a check without a second part completely."""
        for check, variant in wanted:
            if (check.id, variant) not in self._begun:
                self._begun[check.id, variant] = begun(self._run(check, variant))

    def prepare(self, wanted: Iterable[tuple[Check, Variant]]) -> None:
        """Make all pods that checks on backends in Kubernetes need, at once.

        Raises:
            FsmRedirError: A backend or an object in it cannot be made.
        """
        by_backend: dict[str, list[tuple[Check, Variant]]] = {}
        for check, variant in wanted:
            by_backend.setdefault(variant.backend, []).append((check, variant))
        if self.plan.settings.replay is not None:
            self._rebuild()
        for name in by_backend.keys() - {NETNS}:
            points = {variant: None for _, variant in by_backend[name]}
            first = [(self.plan.catalogue[GATE], variant) for variant in points]
            backend = self._backend(name)
            backend.prepare(self._orders(name, [*first, *by_backend[name]]))
            self.results.remark(backend.remarks)

    def _rebuild(self) -> None:
        """Rebuild the captured pod, and remark what its file does not hold.

        Raises:
            FsmRedirError: It cannot be rebuilt.
        """
        backend, variant = self._backend(NETNS), self.plan.variants[0]
        with closing(self._mesh(backend, variant)) as mesh:
            mesh.pod()

    def close(self) -> None:
        """Remove all pods."""
        with ExitStack() as undo:
            while self._begun:
                self._begun.popitem()[1].close()
            while self._backends:
                name, backend = self._backends.popitem()
                self.results.kept += [backend.kept] if backend.kept else []
                undo.enter_context(self.results.removing(name))
                undo.callback(backend.close)

    def _backend(self, name: str) -> Backend:
        """Return a backend; make it on first use.

        Raises:
            FsmRedirError: The backend cannot be made. A failed backend is not tried again.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._backends:
            try:
                self._backends[name] = self._made(name)
            except FsmRedirError as error:
                self._failed[name] = error
                raise
        return self._backends[name]

    def _made(self, name: str) -> Backend:
        plan = self.plan
        nodes = plan.nodes.get(name, ())
        backend = make_backend(
            name, plan.settings, plan.implementation, is_worker=plan.is_worker, nodes=nodes
        )
        self.results.remark(backend.remarks)
        return backend

    def _orders(self, name: str, wanted: Iterable[tuple[Check, Variant]]) -> Iterator[Wanted]:
        backend = self._backend(name)
        for check, variant in wanted:
            if not self.plan.unclaimed(check, variant) and not _lacking(backend, check, variant):
                yield Wanted(check.function, variant.family, _iptables(variant), variant.node)

    def _run(self, check: Check, variant: Variant) -> Course:
        if missing := self.plan.unclaimed(check, variant):
            if Feature.IPV6 in missing:
                self._remark_open_ipv6(variant)
            return unsupported(check, variant, missing)
        try:
            backend = self._backend(variant.backend)
        except FsmRedirError as error:
            return undecided(check, variant, error)
        if lacking := _lacking(backend, check, variant):
            return out_of_reach(check, variant, lacking)
        try:
            mesh = self._mesh(backend, variant)
        except FsmRedirError as error:
            return undecided(check, variant, error)
        mesh.watch = partial(self.watch, f"{check.id}[{variant}]")
        try:
            if (unmet := self._refusal(variant, mesh)) is not None:
                return self._with_consequence(not_judged(check, variant, unmet), check)
            result = yield from deciding(check, variant, mesh)
            try:
                result = self._with_reasons(result, check, mesh)
            except Exception as error:  # an error of ours never changes a decided outcome
                why = f"the suite could not explain this: {type(error).__name__}: {error}"
                result = replace(result, row=replace(result.row, why=printable(why)))
        finally:
            mesh.close()
        return self._with_consequence(result, check)

    def _refusal(self, variant: Variant, mesh: JudgedMesh) -> Unmet | None:
        """Return the refusal of a pod without lists; a captured pod is never refused."""
        return None if self.plan.settings.replay else self._gate.refusal(variant, mesh)

    def _with_reasons(self, result: Result, check: Check, mesh: JudgedMesh) -> Result:
        """Return a result with its symptom, its explanation by the rules, and its evidence."""
        row, claim, found = result.row, result.claim, None
        failed = row.outcome in _EXPLAINED
        if claim is not None:
            row = replace(row, symptom=symptom_of(claim.fate, claim.expected, mesh))
        if claim is not None and failed:
            row = replace(row, delivery=Delivery.of(claim.fate))
        if failed and result.of_packets:
            row, found = _explained(row, check, claim, mesh)
        if self.evidence.wants(failed=failed):
            written = self.evidence.take(check, row, claim, mesh, found)
            if failed and written is not None:
                row = replace(row, evidence=f"{os.path.relpath(written)}/")
        pods = mesh.suspects(None if claim is None else claim.fate)
        if pods and self._fails(row) and self._waiver(check) is None:
            self.pause(row, mesh, pods[-1])
        return replace(result, row=row)

    def _mesh(self, backend: Backend, variant: Variant) -> JudgedMesh:
        return backend.mesh(
            variant.family,
            _iptables(variant),
            exhaustive=self.plan.settings.exhaustive,
            node=variant.node,
        )

    def _remark_open_ipv6(self, variant: Variant) -> None:
        """Remark once what bypasses the sidecar over IPv6, if IPv6 is declared as not claimed.

        The remark affects no verdict, so an error becomes a remark too.
        """
        if variant in self._checked_ipv6 or not self.plan.declared:
            return
        self._checked_ipv6.add(variant)
        try:
            backend = self._backend(variant.backend)
            if variant.family in backend.families:
                with closing(self._mesh(backend, variant)) as mesh:
                    for leak in open_over_ipv6(mesh):
                        self.results.remark([leak])
        except (FsmRedirError, Unmet, OSError) as error:
            self.results.remark([f"{UNCLAIMED}: the search for leaks over IPv6 failed: {error}"])

    def _fails(self, row: Row) -> bool:
        """Whether a result violates what the settings require, waived or not."""
        strict = self.plan.settings.strict
        return row.outcome is Outcome.FAIL or (row.outcome is Outcome.WARN and strict)

    def _waiver(self, check: Check) -> Waiver | None:
        """Return the waiver of a check, if it has one."""
        return next((each for each in self.plan.settings.waivers if each.id == check.id), None)

    def _with_consequence(self, result: Result, check: Check) -> Result:
        """Turn a violated requirement into a failure or a waiver, as the settings say."""
        row = result.row
        if not self._fails(row):
            return result
        if (waiver := self._waiver(check)) is not None:
            waived = replace(row, outcome=Outcome.WAIVED)
            return Result(waived, skipped=f"waived: {waiver.reason} ({waiver.link})")
        return as_failure(row, check, self.plan.settings.again(check.id, row.variant))


def _lacking(backend: Backend, check: Check, variant: Variant) -> list[str]:
    """Return what a check needs and the backend lacks."""
    if variant.family not in backend.families:
        return [f"pods with IPv{variant.family} addresses"]
    return [str(need) for need in check.needs - backend.offers(variant.family)]


def _explained(
    row: Row, check: Check, claim: Claim | None, mesh: JudgedMesh
) -> tuple[Row, Explanation | None]:
    """Return the row of a failure with its explanation by the rules, and that explanation."""
    # A run without a failure does not load the model of the rules here.
    from pytest_fsmredir.rules.why.steps import walked
    from pytest_fsmredir.suite.explaining import explained

    found = explained(check, claim, mesh)
    if found is None:
        return row, None
    row = replace(row, path=printable(found.path), why=printable(found.why))
    if found.case is not None:
        row = replace(row, walk=walked(found.case, found.places))
    return row, found


def _iptables(variant: Variant) -> IptablesVariant:
    """Return the variant of our iptables programs; an installed mesh may use another one."""
    name = IptablesVariant.NFT if variant.iptables == BY_WEBHOOK else variant.iptables
    return IptablesVariant(name)
