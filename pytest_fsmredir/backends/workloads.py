"""The interface of checks to a cluster: workloads, services, probes and DNS names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import facet
from pytest_fsmredir.model.flow import Fate


class Probe(StrEnum):
    """A kind of probe, by its field in a container (core/v1 Container)."""

    LIVENESS = "livenessProbe"
    READINESS = "readinessProbe"
    STARTUP = "startupProbe"


class ProbeBy(StrEnum):
    """The mechanism of a probe."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The kubelet's result of a probe.

    Attributes:
        probe: The kind of probe.
        by: The mechanism of the probe.
        alive: Whether the application answered.
        passed: Whether the kubelet reported success.
        pod: The pod of that application.
        said: The kubelet's last message about the probe.
    """

    probe: Probe
    by: ProbeBy
    alive: bool
    passed: bool
    pod: Pod
    said: str = ""

    @property
    def right(self) -> Statement:
        """The claim that the kubelet's result matches the application's state."""
        application = "a live" if self.alive else "a dead"
        expected = f"the {self.probe} by {self.by} of {application} application to"
        return Statement(
            holds=self.passed is self.alive,
            expected=f"{expected} {'pass' if self.alive else 'fail'}",
            observed=f"it {'passed' if self.passed else 'failed'} ({self.said})",
        )


class Workload(Protocol):
    """An object whose template makes one pod."""

    @property
    def pod(self) -> Pod:
        """Its current pod."""
        ...

    def restart(self, *, annotations: Mapping[str, str] | None = None) -> Pod:
        """Replace the pod, as ``kubectl rollout restart`` does, and return the new one.

        Args:
            annotations: New annotations of the template; unchanged by default.
        """
        ...


@facet(Need.WORKLOADS)
class Workloads(Protocol):
    """The actions of a cluster user; they are undone when the check ends."""

    def workload(self, kind: str, *, annotations: Mapping[str, str] | None = None) -> Workload:
        """Create a ``Deployment``, ``StatefulSet``, ``DaemonSet`` or ``Job`` of one pod."""
        ...

    def installed_lists(self) -> Configuration:
        """Return the lists of the installed MeshConfig, without the changes of a run.

        Needs WEBHOOK.
        """
        ...

    def annotate(self, pod: Pod, annotations: Mapping[str, str]) -> None:
        """Change the annotations of a running pod, as ``kubectl annotate pod`` does."""
        ...

    def mesh_config(self, lists: Mapping[str, Sequence[object]]) -> AbstractContextManager[None]:
        """Set lists in the MeshConfig for the block, as ``kubectl patch meshconfig`` does.

        Needs WEBHOOK.
        """
        ...

    def host_network_pod(self) -> Place:
        """Create a pod with ``hostNetwork`` in the mesh's namespace."""
        ...

    def first_flow(self, to: Place, port: int) -> Fate:
        """Create a pod whose application connects first of all, and return the flow's fate."""
        ...

    def probe(self, probe: Probe, by: ProbeBy, *, alive: bool) -> ProbeResult:
        """Make the kubelet probe an application that answers, or one that does not."""
        ...

    def service(self, pod: Pod, port: int, *, headless: bool = False) -> str:
        """Create a Service for one pod, and return its DNS name in the cluster."""
        ...

    def resolve(self, pod: Pod, name: str) -> tuple[str, ...]:
        """Query the cluster's DNS over UDP from inside a pod, and return the addresses."""
        ...
