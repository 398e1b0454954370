"""Decide whether an exception of a check means that the implementation violates a requirement.

Only a claim, or an assertion in the check's own file, blames the implementation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType

from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.claims import BaseClaim, Unmet, false_claims

_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""The fields of a statement that hold further ones (ast, "Abstract Grammar")."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated requirement.

    Attributes:
        reason: The expected and the actual observation, in one line.
        claim: The false claim; None if the assertion does not evaluate a claim.
    """

    reason: str
    claim: BaseClaim | None = None


def violation_of(check: Check, error: BaseException) -> Violation | None:
    """Return the violation that an exception of a check means.

    Returns:
        The violation; None if the exception is an error of ours, or of a guard of the host project.
    """
    if not isinstance(error, AssertionError):
        return None
    if isinstance(error, Unmet):
        return Violation(repr(error.claim), error.claim)
    trace = _innermost(error.__traceback__)
    own = check.function.__code__.co_filename
    if trace is None or trace.tb_frame.f_code.co_filename != own:
        return None
    return _explained(error, trace)


def reason_of(error: BaseException) -> str:
    """Return the reason of an exception in one line.

    The reason of an assertion is its false claim, or else its source code. If an assertion caused
    the exception, the reason is that of the assertion.
    """
    if isinstance(error.__cause__, AssertionError):
        error = error.__cause__
    trace = _innermost(error.__traceback__)
    if isinstance(error, AssertionError) and trace is not None:
        return _explained(error, trace).reason
    return _first_line(error)


def _explained(error: AssertionError, trace: TracebackType) -> Violation:
    code = trace.tb_frame.f_code
    source = _assertion(code.co_filename, trace.tb_lineno)
    if source is None:
        return Violation(_first_line(error))
    lines = range(source.lineno, (source.end_lineno or source.lineno) + 1)
    claim = _united(false_claims(code, lines))
    message = "" if source.msg is None else _first_line(error)
    if claim is None:
        return Violation(message or ast.unparse(source.test))
    return Violation(f"{message}: {claim!r}" if message else repr(claim), claim)


def _united(claims: list[BaseClaim]) -> BaseClaim | None:
    """Return one claim for all false claims of a statement, any of which would have sufficed."""
    if not claims:
        return None
    last = claims[-1]
    of_one = [each for each in claims if (each.flow, each.seen) == (last.flow, last.seen)]
    if len(of_one) == 1:
        return last
    return replace(last, expected=" or ".join(dict.fromkeys(each.expected for each in of_one)))


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _assertion(file: str, line: int) -> ast.Assert | None:
    """Return the ``assert`` statement that contains a line of a file."""
    return next((each for each in _assertions(file) if _holds(each, line)), None)


@cache
def _assertions(file: str) -> tuple[ast.Assert, ...]:
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError):  # compiled from a text that is not a file
        return ()
    return tuple(each for each in _statements(tree) if isinstance(each, ast.Assert))


def _statements(block: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node, without their expressions, which are most of a tree."""
    for name in _BLOCKS:
        for statement in getattr(block, name, ()):
            yield statement
            yield from _statements(statement)


def _holds(statement: ast.Assert, line: int) -> bool:
    return statement.lineno <= line <= (statement.end_lineno or statement.lineno)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
