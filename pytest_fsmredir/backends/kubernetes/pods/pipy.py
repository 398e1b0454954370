"""The real Pipy as the sidecar of pods: our script in its image, judged by the pods' own tables."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_fsmredir import layout
from pytest_fsmredir.backends.kubernetes.cluster.kind import require_image
from pytest_fsmredir.backends.kubernetes.pods.images import is_here

DEFAULT_IMAGE = "flomesh/pipy:1.5.14"
"""FSM's own (chart 1.6.0)."""

_OPTIONS = ("--log-level=error", "--no-graph", "--no-reload", "--admin-port-off")


def pipy_container(image: str) -> Mapping[str, object]:
    """Return the sidecar's container with an image that holds the program ``pipy``."""
    script = (layout.fixtures() / "sidecar" / "recorder.js").read_text(encoding="utf-8")
    # A literal $ of a command line is not for the kubelet to expand (Container.command).
    command = ["pipy", *_OPTIONS, "-e", script.replace("$(", "$$(")]
    return {"image": image, "imagePullPolicy": "IfNotPresent", "command": command}


def pipy_here(image: str) -> Mapping[str, object]:
    """Return the sidecar's container with an image that Docker has; FSM's own by default.

    Raises:
        PreflightError: It has not.
    """
    name = image or DEFAULT_IMAGE
    require_image(name)
    return pipy_container(name)


def pipy_if_here() -> Mapping[str, object]:
    """Return the sidecar's container where Docker has FSM's image, and nothing elsewhere."""
    return pipy_container(DEFAULT_IMAGE) if is_here(DEFAULT_IMAGE) else {}
