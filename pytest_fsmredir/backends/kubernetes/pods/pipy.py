"""Run the real Pipy with our script as the sidecar of pods; the socket tables show its flows."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_fsmredir import layout
from pytest_fsmredir.backends.kubernetes.cluster.kind import require_image
from pytest_fsmredir.backends.kubernetes.pods.images import is_here

DEFAULT_IMAGE = "flomesh/pipy:1.5.14"
"""The image that FSM uses (chart 1.6.0)."""

_OPTIONS = ("--log-level=error", "--no-graph", "--no-reload", "--admin-port-off")


def pipy_container(image: str) -> Mapping[str, object]:
    """Return the sidecar's container for an image that contains the program ``pipy``."""
    script = (layout.fixtures() / "sidecar" / "recorder.js").read_text(encoding="utf-8")
    # The kubelet expands $(NAME) in a command (Container.command), so escape it.
    command = ["pipy", *_OPTIONS, "-e", script.replace("$(", "$$(")]
    return {"image": image, "imagePullPolicy": "IfNotPresent", "command": command}


def pipy_here(image: str) -> Mapping[str, object]:
    """Return the sidecar's container for an image in Docker; FSM's image by default.

    Raises:
        PreflightError: Docker does not have the image.
    """
    name = image or DEFAULT_IMAGE
    require_image(name)
    return pipy_container(name)


def pipy_if_here() -> Mapping[str, object]:
    """Return the sidecar's container if Docker has FSM's image, else an empty mapping."""
    return pipy_container(DEFAULT_IMAGE) if is_here(DEFAULT_IMAGE) else {}
