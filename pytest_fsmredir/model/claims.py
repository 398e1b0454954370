"""Claims: what a check requires of an implementation, true or false, and always explained.

A verdict rests on claims. Each claim records that it was asked and by which statement, so that the
report shows the right one however Python and pytest treat ``assert``.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import NamedTuple

_KEPT = 64  # claims: more than one statement asks for


class Spot(NamedTuple):
    """Where a claim was asked: in one frame of the calls that led to it.

    Attributes:
        code: Of the frame.
        instruction: Offset of its current instruction.
        line: Line of that instruction.
    """

    code: CodeType
    instruction: int
    line: int


@dataclass(frozen=True, slots=True, repr=False)
class BaseClaim(ABC):
    """Something that a check requires.

    Attributes:
        holds: Whether it is true. Unlike ``bool()``, reading this records nothing.
        expected: What has to be seen.
    """

    holds: bool
    expected: str

    @property
    @abstractmethod
    def seen(self) -> str:
        """What was seen."""

    @property
    def flow(self) -> str:
        """The flow that it is about; empty where it is about something else."""
        return ""

    def __bool__(self) -> bool:
        _asked.append((tuple(_spots()), self))
        return self.holds

    def __repr__(self) -> str:
        explained = f"expected {self.expected}; seen {self.seen}"
        return f"{self.flow}: {explained}" if self.flow else explained


@dataclass(frozen=True, slots=True, repr=False)
class Statement(BaseClaim):
    """A claim in words.

    Attributes:
        observed: What was seen.
        about: The flow that it is about; empty where it is about something else.
    """

    observed: str
    about: str = ""

    @property
    def seen(self) -> str:
        """What was seen."""
        return self.observed

    @property
    def flow(self) -> str:
        """The flow that it is about."""
        return self.about


PROVED = "proved"


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Proven(Statement):
    """A claim about every flow that there can be.

    Attributes:
        status: ``proved``, or why it is not.
    """

    status: str


class Unmet(AssertionError):
    """A claim that our own code makes for a check is false.

    Attributes:
        claim: That claim.
    """

    def __init__(self, claim: BaseClaim) -> None:
        super().__init__(repr(claim))
        self.claim = claim


_asked: deque[tuple[tuple[Spot, ...], BaseClaim]] = deque(maxlen=_KEPT)


def require(claim: BaseClaim) -> None:
    """Fail the check unless a claim is true.

    Raises:
        Unmet: It is false.
    """
    if not claim.holds:
        raise Unmet(claim)


def proofs() -> list[str]:
    """Return what has been proved by the claims that were asked, or why it is not."""
    return [claim.status for _, claim in _asked if isinstance(claim, Proven)]


def forget_claims() -> None:
    """Forget which claims were asked: another check begins."""
    _asked.clear()


def false_claims(code: CodeType, lines: range) -> list[BaseClaim]:
    """Return the false claims that a statement asked when it last ran, in the order it asked them.

    Args:
        code: The function that the statement is in; calls that it makes into its own file count.
        lines: The lines of the statement.
    """
    found: list[BaseClaim] = []
    before = sys.maxsize
    for spots, claim in reversed(_asked):
        spot = next((spot for spot in spots if spot.code is code), None)
        if spot is None:
            continue  # asked by other code meanwhile
        # One pass of a statement asks from left to right, so a step back is an earlier pass.
        if spot.line not in lines or spot.instruction >= before:
            break
        before = spot.instruction
        if not claim.holds:
            found.insert(0, claim)
    return found


def _spots() -> Iterator[Spot]:
    """Yield where a claim is asked, from the innermost frame on, as far as one file goes."""
    frame = sys._getframe(2)  # past this generator's caller, which is __bool__
    file = frame.f_code.co_filename
    while frame.f_code.co_filename == file:
        yield Spot(frame.f_code, frame.f_lasti, frame.f_lineno)
        if frame.f_back is None:
            return
        frame = frame.f_back
