"""The image of the pods: brought by the user, or built from ``fixtures/images``."""

from __future__ import annotations

import hashlib
import os

from pytest_fsmredir import layout, procs
from pytest_fsmredir.backends.kubernetes.kind import require_image
from pytest_fsmredir.errors import CommandError, PreflightError

BASE_VARIABLE = "FSM_IMAGE_BASE"
"""Environment variable that names another base image than the public default."""

BUILD_S = 300.0
"""How long a build may take: it may have to install packages."""

DEFAULT_BASE = "python:3.12-slim-bookworm"


def pod_image(given: str) -> str:
    """Return the image of the pods, built if none is given and it has not been built before.

    Raises:
        PreflightError: The base is not here, or the build failed.
    """
    if given:
        return given
    folder = layout.fixtures() / "images" / "pod"
    base = os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    content = (folder / "Dockerfile").read_text() + base
    image = f"fsmredir-pod:{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if not _is_here(image):
        require_image(base)
        argv = ["docker", "build", "--quiet", "--build-arg", f"BASE={base}", "--tag", image]
        try:
            procs.run([*argv, str(folder)], timeout_s=BUILD_S)
        except CommandError as error:
            raise PreflightError(
                f"the image of the pods cannot be built: {error}; bring one that holds Python 3.11"
                " or later and iptables: --fsm-pod-image IMAGE"
            ) from None
    return image


def _is_here(image: str) -> bool:
    try:
        require_image(image)
    except PreflightError:
        return False
    return True
