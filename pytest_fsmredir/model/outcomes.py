"""Outcomes of checks, and the result row of one check."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

from pytest_fsmredir.model.followed import Delivery, RuleWalk
from pytest_fsmredir.model.rule_use import RuleUse

EVIDENCE = "evidence"
"""The directory of the evidence of failures in a report."""


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


# If a check ran more than once (a re-run plugin, two workers), the worst outcome counts: a pass on
# the second try does not count as a pass.
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


class IptablesVariant(StrEnum):
    """The back end of the iptables programs on PATH; ``native`` is nft without iptables.

    A machine without iptables has only the variant ``native``.
    """

    NFT = "nft"
    LEGACY = "legacy"
    NATIVE = "native"


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One point of the test matrix.

    Attributes:
        backend: Name of the backend.
        iptables: The iptables variant on the implementation's PATH, ``nft`` or ``legacy``; or
            ``webhook`` if the mesh of a cluster programs the pods.
        family: IP version of the flows.
        node: The node that runs the pods, if the user names nodes; else empty.
    """

    backend: str
    iptables: str
    family: int
    node: str = ""

    @property
    def in_kubernetes(self) -> bool:
        """Whether the pods run in a cluster."""
        return self.backend != "netns"

    @property
    def where(self) -> str:
        """The backend, and its node; without ``@``, which ``-k`` does not accept."""
        return f"{self.backend}:{self.node}" if self.node else self.backend

    def __str__(self) -> str:
        return f"{self.where}-{self.iptables}-v{self.family}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one check on one variant.

    Attributes:
        check: The check's id.
        variant: The variant on which the check ran.
        outcome: How the check ended.
        reason: The reason for the outcome, in one line; empty for a pass.
        flow: The flow that decided the outcome; empty if none did.
        expected: The expected fate.
        seen: The actual fate.
        path: The path of the flow through the rules in the pod; empty if it is not known.
        why: The rule that is at fault, or why the rules do not explain the fate.
        evidence: The directory with the evidence; empty if there is none.
        probes: Flows sent and programming attempts made.
        attempts: How often the check ran.
        seconds: How long the check took.
        out_of_reach: The check did not run because the backend lacks a capability; another backend
            of the same run may have it.
        symptom: The kind of flow that failed, and how; empty if no flow decided. Rows with one
            symptom share one message.
        proof: ``proved`` for a check that compared every flow, or why it could not; empty for any
            other check.
        rules: What a check of every flow showed about the rules of its pods.
        walk: The way of a failed flow through the rules in the pod; None if it is not known.
        delivery: What both ends saw of a failed flow; None if no flow decided.
    """

    check: str
    variant: Variant
    outcome: Outcome
    reason: str = ""
    flow: str = ""
    expected: str = ""
    seen: str = ""
    path: str = ""
    why: str = ""
    evidence: str = ""
    probes: int = 0
    attempts: int = 1
    seconds: float = 0.0
    out_of_reach: bool = False
    symptom: tuple[str, ...] = ()
    proof: str = ""
    rules: tuple[RuleUse, ...] = ()
    walk: RuleWalk | None = None
    delivery: Delivery | None = None

    def merged(self, other: Row) -> Row:
        """Return the combined row of two runs of one check."""
        first, _ = sorted((self, other), key=lambda row: _WORST_FIRST.index(row.outcome))
        return replace(
            first,
            attempts=self.attempts + other.attempts,
            seconds=self.seconds + other.seconds,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without subclasses such as ``StrEnum``.

        Pytest-xdist sends them from a worker by ``execnet.dumps``, which accepts exact types only.
        """
        document: dict[str, Any] = _plain(self)
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Row:
        """Return the row that :meth:`as_dict` described."""
        variant = Variant(**document["variant"])
        outcome, symptom = Outcome(document["outcome"]), tuple(document["symptom"])
        rules = tuple(map(RuleUse.from_dict, document["rules"]))
        known = {"variant": variant, "outcome": outcome, "symptom": symptom, "rules": rules}
        if document["walk"] is not None:
            known["walk"] = RuleWalk.from_plain(document["walk"])
        if document["delivery"] is not None:
            known["delivery"] = Delivery.from_plain(document["delivery"])
        return cls(**{**document, **known})


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a row holds
    if isinstance(value, str):
        return str(value)
    if is_dataclass(value):  # asdict() copies every value, which takes ten times as long
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
