"""Interpret the statuses of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Reasons for which a waiting container never starts (kubelet, images/types.go, kuberuntime).
_HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
# Reasons of a container that ended before its program ran (containerd, dockershim). Its exit status
# 128 is not the exit status of the program.
_NEVER_STARTED = {"StartError", "ContainerCannotRun"}


def hopeless(statuses: Sequence[Mapping[str, Any]]) -> str:
    """Return why one of the containers can never start; empty if all of them still can."""
    for each in statuses:
        ended = each.get("state", {}).get("terminated") or {}
        if ended.get("reason") in _NEVER_STARTED:
            why = ended.get("message", "").strip()
            return f"{each['name']} could not be started: {ended['reason']}: {why}"
        waiting = each.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _HOPELESS:
            return f"{each['name']}: {waiting['reason']}: {waiting.get('message', '')}"
    return ""
