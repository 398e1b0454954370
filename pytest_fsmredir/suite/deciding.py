"""Run one check and decide its outcome by the exception that it raises."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import pytest

from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.errors import FsmRedirError, NotApplicableError, PodStoppedError
from pytest_fsmredir.model.checks import GATE, Check, Level
from pytest_fsmredir.model.claims import BaseClaim, Statement, Unmet, forget_claims, proofs
from pytest_fsmredir.model.facets import call
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.blame import Violation, reason_of, violation_of
from pytest_fsmredir.suite.gate import SHUT
from pytest_fsmredir.text import printable

_LACKS, _AND = "the backend lacks: ", "; "
_PATH_WIDTH = 100  # of a path; a chain or a rule is not split
_VIOLATED = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN, Level.INFO: Outcome.NOTE}


class Violated(AssertionError):
    """The implementation violates a requirement; the text explains it over several lines."""


class Undecided(FsmRedirError):
    """A check could not be decided, because of a fault in the harness or in the check."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of running one check.

    Attributes:
        row: The row for the report.
        error: The exception for pytest; None if the run is not a failure.
        claim: The false claim about a flow, if there is one.
        of_packets: Whether a violation is about packets, so that rules can explain it.
        skipped: Why pytest shows the check as skipped; empty if it does not.
    """

    row: Row
    error: Exception | None = None
    skipped: str = ""
    claim: Claim | None = None
    of_packets: bool = True


Course = Generator[None, None, Result]
"""The run of a check as a generator: it yields where the check pauses, and returns the result."""


def unsupported(check: Check, variant: Variant, features: Iterable[str]) -> Result:
    """Return the result of a check whose features are not claimed."""
    reason = f"not claimed: {', '.join(sorted(features))}"
    row = Row(check=check.id, variant=variant, outcome=Outcome.UNSUPPORTED, reason=reason)
    return Result(row, skipped=reason)


def out_of_reach(check: Check, variant: Variant, lacking: Iterable[str]) -> Result:
    """Return the result of a check that needs capabilities that the backend lacks."""
    reason = _LACKS + _AND.join(sorted(lacking))
    row = Row(
        check=check.id,
        variant=variant,
        outcome=Outcome.NOT_RUN,
        reason=reason,
        out_of_reach=True,
    )
    return Result(row, skipped=reason)


def lacked(row: Row) -> list[str]:
    """Return the missing capabilities of the backend from a row of :func:`out_of_reach`."""
    return row.reason.removeprefix(_LACKS).split(_AND) if row.out_of_reach else []


def not_judged(check: Check, variant: Variant, unmet: Unmet) -> Result:
    """Return the result of a check if the gate rejected the implementation.

    Args:
        check: The check. The check of the gate fails; any other check does not run.
        variant: The variant of the check.
        unmet: The unmet requirement of the gate.
    """
    if check.id != GATE:
        row = Row(check=check.id, variant=variant, outcome=Outcome.NOT_RUN, reason=SHUT)
        return Result(row, skipped=SHUT)
    row = Row(check=check.id, variant=variant, outcome=Outcome.PASS)
    return Result(_violated(row, check, 1, Violation(repr(unmet.claim), unmet.claim)))


def begun(course: Course) -> Course:
    """Run a check up to its first pause, and return the rest of its course."""
    try:
        next(course)
    except StopIteration as end:
        return _ended(end.value)
    return course


def finished(course: Course) -> Result:
    """Run the course of a check to the end, and return its result."""
    while True:
        try:
            next(course)
        except StopIteration as end:
            result: Result = end.value
            return result


def decide(check: Check, variant: Variant, mesh: JudgedMesh) -> Result:
    """Run one check on a mesh without a pause; see :func:`deciding`."""
    return finished(deciding(check, variant, mesh))


def deciding(check: Check, variant: Variant, mesh: JudgedMesh) -> Course:
    """Run one check on a mesh, with a pause between its two parts if it has two.

    The result of a violated requirement has no error yet. The settings decide whether the violation
    is a failure (:func:`as_failure`), a warning or waived.
    """
    row = Row(check=check.id, variant=variant, outcome=Outcome.PASS)
    forget_claims()
    try:
        for _ in call(check.function, mesh):
            yield
            forget_claims()
    except (KeyboardInterrupt, GeneratorExit, pytest.exit.Exception):
        raise
    except (NotApplicableError, PodStoppedError) as why:
        return Result(replace(row, outcome=Outcome.NOT_RUN, reason=str(why)), skipped=str(why))
    except BaseException as error:  # a skip or failure of pytest is not a result of a check
        losses = mesh.losses()
        violation = violation_of(check, error) or (_broken_pod(losses) if losses else None)
        if violation is None:
            return undecided(check, variant, error)
        claim = _about_flow(violation.claim)
        violated = _violated(row, check, mesh.observed, violation)
        of_packets = not isinstance(violation.claim, Statement) or violation.claim.of_packets
        return Result(_with_remark(violated, losses), claim=claim, of_packets=of_packets)
    if mesh.observed == 0:
        return _undecided(row, "the check sent nothing")
    proof = "; ".join(dict.fromkeys(claim.status for claim in proofs()))
    rules = tuple(claim.use for claim in proofs() if claim.use is not None)
    return Result(replace(row, probes=mesh.observed, proof=proof, rules=rules))


def undecided(check: Check, variant: Variant, cause: BaseException) -> Result:
    """Return the result of a check that could not be decided."""
    row = Row(check=check.id, variant=variant, outcome=Outcome.ERROR)
    return _undecided(row, f"{type(cause).__name__}: {reason_of(cause)}", cause)


def as_failure(row: Row, check: Check, again: str) -> Result:
    """Return the result of a violated requirement that makes the run fail.

    Args:
        row: The row of the check.
        check: The check.
        again: The command that re-runs the check.
    """
    what = [
        ("requirement", f"{check.requirement}  [{check.spec}]"),
        ("on", str(row.variant)),
        *([("flow", row.flow)] if row.flow else []),
        *([("expected", row.expected), ("seen", row.seen)] if row.expected else []),
        *([("what", row.reason)] if not row.expected else []),
        *explanation(row),
        ("again", again),
    ]
    lines = [f"{check.id} {check.title}", *(f"  {name:<12} {text}" for name, text in what)]
    return Result(row, error=Violated("\n".join(lines)))


def explanation(row: Row) -> list[tuple[str, str]]:
    """Return what the rules say about the flow of a row: (name, text) of each line."""
    pieces = row.path.split(" · ")
    lines = textwrap.wrap(
        " · ".join(piece.replace(" ", "\0") for piece in pieces),
        _PATH_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )
    names = ("path", *("" for _ in lines))
    path = [(name, line.replace("\0", " ")) for name, line in zip(names, lines, strict=False)]
    return [*path, *((n, t) for n, t in (("why", row.why), ("evidence", row.evidence)) if t)]


def _about_flow(claim: BaseClaim | None) -> Claim | None:
    """Return the claim about one flow that a claim is or reports; None if there is none."""
    if isinstance(claim, Statement):
        claim = claim.cause
    return claim if isinstance(claim, Claim) else None


def _broken_pod(losses: Sequence[str]) -> Violation:
    """Return the violation of an implementation that broke the network of a pod."""
    claim = Statement(
        holds=False,
        expected="a programmed pod with the links, addresses and routes that it was made with",
        observed=", ".join(losses),
    )
    return Violation(repr(claim), claim)


def _with_remark(row: Row, losses: Sequence[str]) -> Row:
    """Return a row that also names what the pod lost, as a possible cause."""
    remark = ", ".join(losses)
    if not remark or remark in row.reason:
        return row
    return replace(row, reason=f"{row.reason}; {remark}", seen=f"{row.seen}; {remark}")


def _violated(row: Row, check: Check, probes: int, violation: Violation) -> Row:
    row = replace(
        row,
        outcome=_VIOLATED[check.level],
        probes=probes,
        reason=printable(violation.reason),
    )
    claim = violation.claim
    if claim is None:
        return row
    return replace(
        row,
        flow=printable(claim.flow),
        expected=printable(claim.expected),
        seen=printable(claim.seen),
    )


def _ended(result: Result) -> Course:
    """Return a course that ends at once with a known result."""
    yield from ()
    return result


def _undecided(row: Row, reason: str, cause: BaseException | None = None) -> Result:
    text = printable(reason)
    error = Undecided(
        f"{row.check} could not be decided. This is an error of the harness or of the machine,"
        f" not of the implementation: {text}"
    )
    error.__cause__ = cause
    return Result(replace(row, outcome=Outcome.ERROR, reason=text), error=error)
