"""What a dry run of a check records: pods, flows with their expected fates, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_fsmredir.model.flow import Protocol

NOT_PROGRAMMED = "not programmed"
_RUNS = 4  # shown for one pod


@dataclass(slots=True)
class RecordedFlow:
    """One flow of a check.

    Attributes:
        source: Where it starts, with what is special about its socket.
        uid: Owner of the client socket; None outside the pod.
        host: Name of the destination.
        port: Destination port; 0 where the protocol has none.
        protocol: TCP, UDP or ICMP.
        expected: The expected fate; "any" if the check requires none.
        conditions: What is true while the flow is sent, such as "sidecar stopped".
    """

    source: str
    uid: int | None
    host: str
    port: int
    protocol: Protocol
    expected: str = "any"
    conditions: tuple[str, ...] = ()


@dataclass(slots=True)
class Recording:
    """The flows of a check.

    Attributes:
        pods: The settings of each pod, by its name.
        flows: The flows, in order.
        others: Requirements that are not about the fate of one flow.
        missing: Why the recording is not complete; empty if it is.
    """

    pods: dict[str, str] = field(default_factory=dict)
    flows: list[RecordedFlow] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    missing: str = ""


def socket_in_words(how: Mapping[str, Any]) -> str:
    """Return what is special about a client socket, in words."""
    parts = []
    if how.get("gid"):
        parts.append(f"gid {how['gid']}")
    if isinstance(how.get("source"), tuple):
        parts.append(
            f"from port {how['source'][1]}" if how["source"][1] else "from another address"
        )
    if prepare := how.get("prepare"):
        name = getattr(getattr(prepare, "func", prepare), "__name__", "prepared")
        parts.append(name.strip("_").replace("_", " "))
    if how.get("mapped"):
        parts.append("IPv4-mapped")
    return f" ({', '.join(parts)})" if parts else ""


def runs_in_words(runs: Sequence[str]) -> str:
    """Return the states of a pod in words, one for each run that programmed it."""
    before = [run for run in runs if run == NOT_PROGRAMMED]
    after = [run for run in runs if run != NOT_PROGRAMMED]
    if len(runs) == 1:
        return runs[0]
    numbered = [f"run {number}: {lists}" for number, lists in enumerate(after[:_RUNS], 1)]
    more = ["..."] if len(after) > _RUNS else []
    return "; ".join([*before, *numbered, *more])


def lists_in_words(lists: Mapping[str, object]) -> str:
    """Return the lists of a pod in words."""
    return ", ".join(
        f"{name.removeprefix('flomesh.io/')} {_short(value)}" for name, value in lists.items()
    )


def _short(value: object) -> str:
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    text = ",".join(map(str, items)) or "(empty)"
    return text if len(text) <= 60 else f"{text[:57]}..."
