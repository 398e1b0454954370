"""Find the images: those that the user names, or images built from ``fixtures/images``."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pytest_fsmredir import layout, procs, scratch
from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive
from pytest_fsmredir.backends.kubernetes.cluster.kind import require_image
from pytest_fsmredir.errors import CommandError, PreflightError

BASE_VARIABLE = "FSM_IMAGE_BASE"
"""Environment variable that names a base image instead of the public default."""

BUILD_S = 300.0
"""Seconds that a build may take: it may have to install packages."""

DEFAULT_BASE = "python:3.12-slim-bookworm"


def pod_image(given: str) -> str:
    """Return the image of the pods, built if none is given and it has not been built before.

    Raises:
        PreflightError: Docker does not have the base image, or the build failed.
    """
    return given or _built("pod", {}, "--fsm-pod-image IMAGE")


def mesh_image(given: str, tag: str = "") -> str:
    """Return the image of the reference mesh, built if none is given.

    Args:
        given: Name of an existing image; empty to build one.
        tag: Name for a built image; empty for a name derived from its content.

    Raises:
        PreflightError: Docker does not have the base image, or the build failed.
    """
    return given or _built("mesh", {"agent.pyz": agent_archive()}, "--image IMAGE", tag)


def _built(name: str, made: Mapping[str, bytes], option: str, tag: str = "") -> str:
    """Build an image of ``fixtures/images``, unless it has been built before.

    Args:
        name: Name of the folder.
        made: Generated files to add to the folder, by name.
        option: The command line option that names an existing image; for error messages.
        tag: Name for the image; empty for a name derived from its content.
    """
    base = os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    context = scratch.directory(f"image-{name}")
    try:
        shutil.copytree(layout.fixtures() / "images" / name, context, dirs_exist_ok=True)
        for file, content in made.items():
            (context / file).write_bytes(content)
        image = tag or f"fsmredir-{name}:{_digest(context, base)}"
        if tag or not is_here(image):
            _build(context, base, image, option)
    finally:
        shutil.rmtree(context)
    return image


def _build(context: Path, base: str, image: str, option: str) -> None:
    try:
        require_image(base)
    except PreflightError as error:
        raise PreflightError(
            f"{error}; or name another base image by the environment variable {BASE_VARIABLE}, or"
            f" bring a whole image that holds Python 3.11 or later and iptables: {option}"
        ) from None
    argv = ["docker", "build", "--quiet", "--build-arg", f"BASE={base}", "--tag", image]
    try:
        procs.run([*argv, str(context)], timeout_s=BUILD_S)
    except CommandError as error:
        raise PreflightError(
            f"the image {image} cannot be built: {error}; bring one that holds Python 3.11"
            f" or later and iptables: {option}"
        ) from None


def _digest(context: Path, base: str) -> str:
    found = hashlib.sha256(base.encode())
    for file in sorted(context.rglob("*")):
        if file.is_file():
            found.update(str(file.relative_to(context)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def is_here(image: str) -> bool:
    """Whether Docker has an image."""
    try:
        require_image(image)
    except PreflightError:
        return False
    return True
