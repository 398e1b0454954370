"""Run one check: what it raises decides its outcome."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import pytest

from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.errors import FsmRedirError, PodStoppedError
from pytest_fsmredir.model.checks import GATE, Check, Level
from pytest_fsmredir.model.claims import Statement, Unmet, forget_claims, proofs
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.blame import Violation, reason_of, violation_of
from pytest_fsmredir.suite.gate import SHUT
from pytest_fsmredir.text import printable

_LACKS, _AND = "the backend lacks: ", "; "
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
        claim: The claim about a flow that was false, if there was one.
        skipped: Why pytest shall show it as neither passed nor failed; empty where it shall not.
    """

    row: Row
    error: Exception | None = None
    skipped: str = ""
    claim: Claim | None = None


Course = Generator[None, None, Result]
"""The course of a check: it yields where the check pauses, and returns its result."""


def unsupported(check: Check, variant: Variant, features: Iterable[str]) -> Result:
    """Return the result of a check of features that are not claimed."""
    reason = f"not claimed: {', '.join(sorted(features))}"
    row = Row(check=check.id, variant=variant, outcome=Outcome.UNSUPPORTED, reason=reason)
    return Result(row, skipped=reason)


def out_of_reach(check: Check, variant: Variant, lacking: Iterable[str]) -> Result:
    """Return the result of a check that wants what the backend does not have."""
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
    """Return what the backend lacks, by the row of a check that :func:`out_of_reach` left out."""
    return row.reason.removeprefix(_LACKS).split(_AND) if row.out_of_reach else []


def not_judged(check: Check, variant: Variant, unmet: Unmet) -> Result:
    """Return the result of a check of an implementation that the gate has stopped.

    Args:
        check: The one of the gate itself fails; any other one does not run.
        variant: Where.
        unmet: What the gate requires.
    """
    if check.id != GATE:
        row = Row(check=check.id, variant=variant, outcome=Outcome.NOT_RUN, reason=SHUT)
        return Result(row, skipped=SHUT)
    row = Row(check=check.id, variant=variant, outcome=Outcome.PASS)
    return Result(_violated(row, check, 1, Violation(repr(unmet.claim), unmet.claim)))


def begun(course: Course) -> Course:
    """Run the course of a check up to its first pause, and return what is left of it."""
    try:
        next(course)
    except StopIteration as end:
        return _ended(end.value)
    return course


def finished(course: Course) -> Result:
    """Run the course of a check to its end, and return its result."""
    while True:
        try:
            next(course)
        except StopIteration as end:
            result: Result = end.value
            return result


def decide(check: Check, variant: Variant, mesh: JudgedMesh) -> Result:
    """Run one check on a mesh, as :func:`deciding` does, without a pause."""
    return finished(deciding(check, variant, mesh))


def deciding(check: Check, variant: Variant, mesh: JudgedMesh) -> Course:
    """Run one check on a mesh, and pause between its parts if it has two.

    The result of a violated requirement holds no error yet: what it means for the run is for
    :func:`as_failure` and others to say.
    """
    row = Row(check=check.id, variant=variant, outcome=Outcome.PASS)
    forget_claims()
    try:
        for _ in check.function(mesh) or ():
            yield
            forget_claims()
    except (KeyboardInterrupt, GeneratorExit, pytest.exit.Exception):
        raise
    except PodStoppedError as why:
        return Result(replace(row, outcome=Outcome.NOT_RUN, reason=str(why)), skipped=str(why))
    except BaseException as error:  # a skip or a failure that pytest knows is none of a check
        losses = mesh.losses()
        violation = violation_of(check, error) or (_broken_pod(losses) if losses else None)
        if violation is None:
            return undecided(check, variant, error)
        claim = violation.claim if isinstance(violation.claim, Claim) else None
        violated = _violated(row, check, mesh.observed, violation)
        return Result(_with_remark(violated, losses), claim=claim)
    if mesh.observed == 0:
        return _undecided(row, "the check sent nothing")
    return Result(replace(row, probes=mesh.observed, proof="; ".join(dict.fromkeys(proofs()))))


def undecided(check: Check, variant: Variant, cause: BaseException) -> Result:
    """Return the result of a check that something kept from being decided."""
    row = Row(check=check.id, variant=variant, outcome=Outcome.ERROR)
    return _undecided(row, f"{type(cause).__name__}: {reason_of(cause)}", cause)


def as_failure(row: Row, check: Check, again: str) -> Result:
    """Return the result of a violated requirement that makes the run fail.

    Args:
        row: What was seen.
        check: What was required.
        again: The line that runs it again.
    """
    what = [
        ("requirement", f"{check.requirement}  [{check.spec}]"),
        ("on", str(row.variant)),
        *([("flow", row.flow)] if row.flow else []),
        *([("expected", row.expected), ("seen", row.seen)] if row.expected else []),
        *([("what", row.reason)] if not row.expected else []),
        ("again", again),
    ]
    lines = [f"{check.id} {check.title}", *(f"  {name:<12} {text}" for name, text in what)]
    return Result(row, error=Violated("\n".join(lines)))


def _broken_pod(losses: Sequence[str]) -> Violation:
    """Return the violation of an implementation that has taken a pod's network away."""
    claim = Statement(
        holds=False,
        expected="a programmed pod with the links, addresses and routes that it was made with",
        observed=", ".join(losses),
    )
    return Violation(repr(claim), claim)


def _with_remark(row: Row, losses: Sequence[str]) -> Row:
    """Return a row that also says what the pod has lost, which may well be the cause."""
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
    """Return a course at whose end there is a result already."""
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
