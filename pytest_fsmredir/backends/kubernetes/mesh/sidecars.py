"""The facet that controls the sidecars of pods; it takes a sidecar of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import Sidecars
from pytest_fsmredir.backends.kubernetes.agents.manifests import SIDECAR
from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.pods import own_pod


class KubeSidecars(Sidecars):
    """Controls the sidecars of pods."""

    def __init__(self, mesh: KubeMesh) -> None:
        self._mesh = mesh

    @contextmanager
    def forwarding(self, pod: Pod, services: Mapping[str, str] | None = None) -> Iterator[None]:
        """Make the sidecar forward captured flows for the block."""
        self._ask(pod, "forward", on=True, services=dict(services or {}))
        self._mesh.forwarding += 1
        try:
            yield
        finally:
            self._mesh.forwarding -= 1
            self._ask(pod, "forward", on=False, services={})

    @contextmanager
    def stopped(self, pod: Pod) -> Iterator[None]:
        """Stop the sidecar for the block."""
        self._ask(pod, "stop")
        try:
            yield
        finally:
            self._ask(pod, "start")

    def _ask(self, pod: Pod, name: str, **arguments: Json) -> None:
        own_pod(pod).link.ask(SIDECAR, name, **arguments)
