"""What the statuses of containers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Reasons of a waiting container that never passes (kubelet, images/types.go, kuberuntime).
_HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
# Reasons of a container that ended without having run (containerd, dockershim): its exit status 128
# is not that of its program.
_NEVER_STARTED = {"StartError", "ContainerCannotRun"}


def hopeless(statuses: Sequence[Mapping[str, Any]]) -> str:
    """Return what keeps one of some containers from ever starting; empty if nothing does."""
    for each in statuses:
        ended = each.get("state", {}).get("terminated") or {}
        if ended.get("reason") in _NEVER_STARTED:
            why = ended.get("message", "").strip()
            return f"{each['name']} could not be started: {ended['reason']}: {why}"
        waiting = each.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _HOPELESS:
            return f"{each['name']}: {waiting['reason']}: {waiting.get('message', '')}"
    return ""
