"""How an attempt to program a pod ends, and what disturbs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sabotage:
    """Harm to the packet filter programs (iptables and its kin) that an implementation starts.

    Attributes:
        at: Which start it happens at, before the program has done anything: 1 is the first, None
            is every one, 0 is none (they are only counted).
        kills: The implementation is killed there, children included; otherwise the program fails.
    """

    at: int | None
    kills: bool = False


@dataclass(frozen=True, slots=True)
class Programming:
    """How an attempt to program a pod ended.

    Attributes:
        accepted: The implementation said "programmed".
        reason: Why it declined; empty when it accepted.
        started: Packet filter programs that it started, as far as they are found by PATH; counted
            only under sabotage.
    """

    accepted: bool
    reason: str = ""
    started: int = 0

    @property
    def refused(self) -> Refusal:
        """The implementation declined to program the pod."""
        return Refusal(self)

    def __repr__(self) -> str:
        return "programmed" if self.accepted else f"refused: {self.reason}"


@dataclass(frozen=True, slots=True, repr=False)
class Refusal:
    """Whether an implementation declined to program a pod; true or false, and always explained."""

    programming: Programming

    def __bool__(self) -> bool:
        return not self.programming.accepted

    def __repr__(self) -> str:
        return f"expected a refusal; seen: {self.programming}"
