"""Running one check: its outcome is told by the type of what it raises."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

import pytest

import pytest_fsmredir
from pytest_fsmredir.backends.programming import Refusal
from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.model.checks import Check, Level
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.text import printable

T = TypeVar("T")

_PACKAGE = Path(pytest_fsmredir.__file__).parent
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


def decide(check: Check, variant: Variant, mesh: JudgedMesh) -> Result:
    """Run one check on a mesh.

    The result of a violated requirement holds no error yet: what it means for the run is for
    :func:`as_failure` and others to say.
    """
    row = Row(check=check.id, variant=variant, outcome=Outcome.PASS)
    try:
        check.function(mesh)
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as error:  # a skip or a failure that pytest knows is none of a check
        if isinstance(error, AssertionError) and _is_of(check, error):
            claim = _false_part(error.__traceback__, Claim)
            return Result(_violated(row, check, mesh, error), claim=claim)
        return undecided(check, variant, error)
    if mesh.observed == 0:
        return _undecided(row, "the check sent nothing")
    return Result(replace(row, probes=mesh.observed))


def undecided(check: Check, variant: Variant, cause: BaseException) -> Result:
    """Return the result of a check that something kept from being decided."""
    row = Row(check=check.id, variant=variant, outcome=Outcome.ERROR)
    return _undecided(row, f"{type(cause).__name__}: {_first_line(cause)}", cause)


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
        *([("flow", row.flow), ("expected", row.expected), ("seen", row.seen)] if row.flow else []),
        *([("what", row.reason)] if not row.flow else []),
        ("again", again),
    ]
    lines = [f"{check.id} {check.title}", *(f"  {name:<12} {text}" for name, text in what)]
    return Result(row, error=Violated("\n".join(lines)))


def _violated(row: Row, check: Check, mesh: JudgedMesh, error: AssertionError) -> Row:
    row = replace(row, outcome=_VIOLATED[check.level], probes=mesh.observed)
    claim = _false_part(error.__traceback__, Claim)
    if claim is None:
        refusal = _false_part(error.__traceback__, Refusal)
        said = repr(refusal) if refusal is not None else _first_line(error)
        return replace(row, reason=printable(said))
    return replace(
        row,
        reason=printable(repr(claim)),
        flow=str(claim.fate.flow),
        expected=claim.expected,
        seen=claim.fate.seen,
    )


def _false_part(trace: TracebackType | None, kind: type[T]) -> T | None:
    """Return what of a kind an assertion found false.

    The text of an assertion holds it too, but pytest cuts a long one. Its rewriting of assertions
    leaves their parts among the frame's variables.
    """
    frame = _innermost(trace)
    if frame is None:
        return None
    parts = [value for name, value in frame.f_locals.items() if name.startswith("@py_")]
    found = [value for value in parts if isinstance(value, kind) and not value]
    return found[-1] if found else None


def _is_of(check: Check, error: AssertionError) -> bool:
    """Whether an assertion is a check's, or ours, and not that of somebody's guard or plugin."""
    frame = _innermost(error.__traceback__)
    own = {_PACKAGE, Path(check.function.__code__.co_filename).parent}
    return frame is not None and not own.isdisjoint(Path(frame.f_code.co_filename).parents)


def _innermost(trace: TracebackType | None) -> FrameType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame


def _undecided(row: Row, reason: str, cause: BaseException | None = None) -> Result:
    text = printable(reason)
    error = Undecided(
        f"{row.check} could not be decided. This is an error of the harness or of the machine,"
        f" not of the implementation: {text}"
    )
    error.__cause__ = cause
    return Result(replace(row, outcome=Outcome.ERROR, reason=text), error=error)


def _first_line(error: BaseException) -> str:
    """Return what an assertion says: pytest's rewriting puts the claim on the first line.

    Where pytest is told not to rewrite any, its source has to do.
    """
    raised = traceback.extract_tb(error.__traceback__)
    source = raised[-1].line if raised and isinstance(error, AssertionError) else ""
    lines = str(error).splitlines() or [source or type(error).__name__]
    return lines[0].removeprefix("assert ")
