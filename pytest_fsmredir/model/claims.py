"""Claims: statements that a check requires to be true, each with an explanation.

A verdict rests on claims. Each claim records which statement evaluated it, so that the report shows
the right claim however Python and pytest treat ``assert``.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import NamedTuple

from pytest_fsmredir.model.rule_use import RuleUse

_KEPT = 64  # claims; a single statement evaluates fewer


class Spot(NamedTuple):
    """One call frame in which a claim was evaluated.

    Attributes:
        code: Code of the frame.
        instruction: Offset of the current instruction of the frame.
        line: Line of that instruction.
    """

    code: CodeType
    instruction: int
    line: int


@dataclass(frozen=True, slots=True, repr=False)
class BaseClaim(ABC):
    """A statement that a check requires to be true.

    Attributes:
        holds: Whether the claim is true. Unlike ``bool()``, reading this records nothing.
        expected: The required observation.
    """

    holds: bool
    expected: str

    @property
    @abstractmethod
    def seen(self) -> str:
        """The actual observation."""

    @property
    def flow(self) -> str:
        """The flow that the claim is about; empty if it is not about a flow."""
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
        observed: The actual observation.
        about: The flow that the claim is about; empty if it is not about a flow.
        cause: The false claim about one flow that this claim reports, if there is one.
        of_packets: Whether it is about packets, so that rules can explain it.
    """

    observed: str
    about: str = ""
    cause: BaseClaim | None = None
    of_packets: bool = True

    @property
    def seen(self) -> str:
        """The actual observation."""
        return self.observed

    @property
    def flow(self) -> str:
        """The flow that the claim is about."""
        return self.about


PROVED = "proved"
DEPENDS = "it depends on "
"""How a reason for "not proved" begins that names a condition of which a flow shows no result."""
_AND = "; "


def reasons_of(statuses: Iterable[str]) -> list[str]:
    """Return why claims are not proved, each reason once; empty if all are proved.

    Args:
        statuses: The status of each claim: ``proved``, or reasons joined by semicolons.
    """
    some = (reason for status in statuses for reason in status.split(_AND))
    return [reason for reason in dict.fromkeys(some) if reason not in {"", PROVED}]


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Proven(Statement):
    """A claim about every possible flow.

    Attributes:
        status: ``proved``, or the reason why the claim is not proved.
        use: What the packets of the proof showed about the rules; None if no rules were read.
    """

    status: str
    use: RuleUse | None = None


class Unmet(AssertionError):
    """A claim that the package's own code makes for a check is false.

    Attributes:
        claim: The false claim.
    """

    def __init__(self, claim: BaseClaim) -> None:
        super().__init__(repr(claim))
        self.claim = claim


_asked: deque[tuple[tuple[Spot, ...], BaseClaim]] = deque(maxlen=_KEPT)


def require(claim: BaseClaim) -> None:
    """Fail the check unless a claim is true.

    Raises:
        Unmet: The claim is false.
    """
    if not claim.holds:
        raise Unmet(claim)


def proofs() -> list[Proven]:
    """Return the evaluated claims about every flow."""
    return [claim for _, claim in _asked if isinstance(claim, Proven)]


def forget_claims() -> None:
    """Forget the recorded claims, because another check starts."""
    _asked.clear()


def false_claims(code: CodeType, lines: range) -> list[BaseClaim]:
    """Return the false claims of a statement's last run, in the order of evaluation.

    Args:
        code: The function that holds the statement; its calls into its own file count too.
        lines: The lines of the statement.
    """
    found: list[BaseClaim] = []
    before = sys.maxsize
    for spots, claim in reversed(_asked):
        spot = next((spot for spot in spots if spot.code is code), None)
        if spot is None:
            continue  # evaluated by other code in between
        # A statement evaluates its claims from left to right, so a step back is an earlier run.
        if spot.line not in lines or spot.instruction >= before:
            break
        before = spot.instruction
        if not claim.holds:
            found.insert(0, claim)
    return found


def _spots() -> Iterator[Spot]:
    """Yield the frames that evaluate a claim: the innermost frame and its callers in one file."""
    frame = sys._getframe(2)  # past this generator's caller, which is __bool__
    file = frame.f_code.co_filename
    while frame.f_code.co_filename == file:
        yield Spot(frame.f_code, frame.f_lasti, frame.f_lineno)
        if frame.f_back is None:
            return
        frame = frame.f_back
