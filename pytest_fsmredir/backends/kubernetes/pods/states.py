"""Derive the stage of a pod from the status of its Pod object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic
from typing import Any

from pytest_fsmredir.backends.kubernetes.cluster.containers import hopeless

_INIT = "fsm-init"


class PodStage(StrEnum):
    """The stage of a pod."""

    WAITING = "not up yet"
    UP = "up"
    REFUSED = "refused by the implementation"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class PodState:
    """The stage of a pod, and the reason.

    Attributes:
        stage: The stage.
        reason: Why the pod is not up.
        addresses: Addresses of the pod once it is up, IPv4 first.
        ended: Names of its containers that have ended and will not be started again.
    """

    stage: PodStage
    reason: str = ""
    addresses: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.reason or self.stage.value


class PodProgress:
    """Measures how long nothing has changed.

    Attributes:
        idle_s: Seconds between the last change and the last look.
    """

    def __init__(self) -> None:
        self.idle_s = 0.0
        self._last: object = None
        self._changed = monotonic()

    def look(self, seen: object) -> None:
        """Compare the current state with the last one."""
        if seen != self._last:
            self._last, self._changed = seen, monotonic()
        self.idle_s = monotonic() - self._changed


def state_of(pod: Mapping[str, Any], init_timeout_s: float) -> PodState:
    """Return the state of a pod.

    Args:
        pod: The Pod object.
        init_timeout_s: Seconds after which a running init container counts as hung.
    """
    status = pod.get("status", {})
    inits = status.get("initContainerStatuses", [])
    containers = status.get("containerStatuses", [])
    if reason := hopeless([*inits, *containers]):
        return PodState(PodStage.BROKEN, reason)
    if refusal := _refusal(inits, init_timeout_s):
        return PodState(PodStage.REFUSED, refusal)
    ended = [each for each in containers if "terminated" in each.get("state", {})]
    if ended or status.get("phase") == "Failed":
        ends = ", ".join(_end(each) for each in ended)
        why = status.get("message") or status.get("reason") or ends
        return PodState(PodStage.BROKEN, why, ended=tuple(each["name"] for each in ended))
    if containers and all("running" in each.get("state", {}) for each in containers):
        addresses = [each["ip"] for each in status.get("podIPs", [])]
        if status.get("phase") == "Running" and addresses:
            return PodState(PodStage.UP, addresses=tuple(sorted(addresses, key=lambda a: ":" in a)))
    return PodState(PodStage.WAITING, _progress(status, [*inits, *containers]))


def _end(container: Mapping[str, Any]) -> str:
    status = container["state"]["terminated"].get("exitCode")
    return f"its container {container['name']} ended with exit status {status}"


def _refusal(inits: list[Mapping[str, Any]], init_timeout_s: float) -> str:
    for each in inits:
        if each["name"] != _INIT:
            continue
        state = each.get("state", {})
        ended = state.get("terminated") or each.get("lastState", {}).get("terminated")
        if ended and ended["exitCode"] != 0:
            return f"exited {ended['exitCode']}"
        if "running" in state:
            since = datetime.fromisoformat(state["running"]["startedAt"])
            if (datetime.now(UTC) - since).total_seconds() > init_timeout_s:
                return "did not end in time"
    return ""


def _progress(status: Mapping[str, Any], statuses: list[Mapping[str, Any]]) -> str:
    waiting = [
        f"{each['name']}: {reason}"
        for each in statuses
        if (reason := each.get("state", {}).get("waiting", {}).get("reason"))
    ]
    unmet = [
        str(condition["message"])
        for condition in status.get("conditions", [])
        if condition.get("status") == "False" and condition.get("reason") == "Unschedulable"
    ]
    return "; ".join([*unmet, *waiting]) or str(status.get("phase", "unknown"))
