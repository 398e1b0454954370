"""Outcomes of checks, and the row of results that one check leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How one run of one check ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"
    NOTE = "note"
    ERROR = "error"
    UNSUPPORTED = "unsupported"
    WAIVED = "waived"
    NOT_RUN = "not-run"


# When a check ran more than once (a re-run plugin, two workers), the worst outcome counts: a pass
# that needed a second try does not count as a pass.
_WORST_FIRST = (
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.WAIVED,
    Outcome.WARN,
    Outcome.NOTE,
    Outcome.NOT_RUN,
    Outcome.UNSUPPORTED,
    Outcome.PASS,
)


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One point of the matrix that every check is run on.

    Attributes:
        backend: Name of the backend.
        iptables: The iptables variant on the implementation's PATH, ``nft`` or ``legacy``; or
            ``webhook`` where the mesh of a cluster programs the pods its own way.
        family: IP version of the flows.
        node: The node of the cluster that the pods are on, if the user names nodes.
    """

    backend: str
    iptables: str
    family: int
    node: str = ""

    @property
    def in_kubernetes(self) -> bool:
        """Whether the pods are a cluster's."""
        return self.backend != "netns"

    @property
    def where(self) -> str:
        """The backend, and the node in it; in letters that ``-k`` takes, which ``@`` is not."""
        return f"{self.backend}:{self.node}" if self.node else self.backend

    def __str__(self) -> str:
        return f"{self.where}-{self.iptables}-v{self.family}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one check on one variant.

    Attributes:
        check: The check's id.
        variant: Where it ran.
        outcome: How it ended.
        reason: Why, in one line; empty for a pass.
        flow: The flow that decided the outcome; empty if none did.
        expected: The fate that was expected.
        seen: The fate that was seen.
        probes: Flows sent and programming attempts made.
        attempts: How often it ran.
        seconds: How long it took.
        out_of_reach: It did not run because the backend cannot do what it needs; another backend
            of the same run may.
        symptom: The kind of flow that failed, and how; empty if no flow decided. Rows with one
            symptom share one message.
        proof: ``proved`` for a check that compared every flow, or why it could not; empty for any
            other check.
    """

    check: str
    variant: Variant
    outcome: Outcome
    reason: str = ""
    flow: str = ""
    expected: str = ""
    seen: str = ""
    probes: int = 0
    attempts: int = 1
    seconds: float = 0.0
    out_of_reach: bool = False
    symptom: tuple[str, ...] = ()
    proof: str = ""

    def merged(self, other: Row) -> Row:
        """Return the row that stands when a check ran twice."""
        first, _ = sorted((self, other), key=lambda row: _WORST_FIRST.index(row.outcome))
        return replace(
            first,
            attempts=self.attempts + other.attempts,
            seconds=self.seconds + other.seconds,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return values that JSON has, and nothing derived from them such as a ``StrEnum``.

        Pytest-xdist sends them from a worker by ``execnet.dumps``, which takes exact types only.
        """
        document: dict[str, Any] = _plain(asdict(self))
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Row:
        """Return the row of :meth:`as_dict`."""
        variant = Variant(**document["variant"])
        outcome, symptom = Outcome(document["outcome"]), tuple(document["symptom"])
        return cls(**{**document, "variant": variant, "outcome": outcome, "symptom": symptom})


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a row holds
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
