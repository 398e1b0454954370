"""What a cluster offers to checks beyond pods and flows: workloads, services, probes, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_fsmredir.model.claims import Statement

if TYPE_CHECKING:
    from pytest_fsmredir.backends.base import Place, Pod
    from pytest_fsmredir.model.configuration import Configuration
    from pytest_fsmredir.model.flow import Fate


class Probe(StrEnum):
    """A kind of probe, by its field in a container (core/v1 Container)."""

    LIVENESS = "livenessProbe"
    READINESS = "readinessProbe"
    STARTUP = "startupProbe"


class ProbeBy(StrEnum):
    """How a probe asks."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the kubelet made of a probe.

    Attributes:
        probe: Which.
        by: How it asked.
        alive: Whether the application answered.
        passed: Whether the kubelet took it for alive.
        pod: The pod of that application.
        said: The kubelet's last word on it.
    """

    probe: Probe
    by: ProbeBy
    alive: bool
    passed: bool
    pod: Pod
    said: str = ""

    @property
    def right(self) -> Statement:
        """The kubelet saw the application as it is, alive or dead."""
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
        """Its pod, as it is now."""
        ...

    def restart(self, *, annotations: Mapping[str, str] | None = None) -> Pod:
        """Have the pod replaced, as ``kubectl rollout restart`` does, and return the new one.

        Args:
            annotations: Of the template from now on; as they were by default.
        """
        ...


class Workloads(Protocol):
    """What a user of the cluster can do; ends with the check."""

    def workload(self, kind: str, *, annotations: Mapping[str, str] | None = None) -> Workload:
        """Make a ``Deployment``, ``StatefulSet``, ``DaemonSet`` or ``Job`` of one pod."""
        ...

    def installed_lists(self) -> Configuration:
        """Return the lists that the mesh is configured with when no run has set them aside.

        Needs WEBHOOK.
        """
        ...

    def annotate(self, pod: Pod, annotations: Mapping[str, str]) -> None:
        """Change the annotations of a running pod, as ``kubectl annotate pod`` does."""
        ...

    def mesh_config(self, lists: Mapping[str, Sequence[object]]) -> AbstractContextManager[None]:
        """Have lists in the MeshConfig for the block, as ``kubectl patch meshconfig`` does.

        Needs WEBHOOK.
        """
        ...

    def host_network_pod(self) -> Place:
        """Make a pod of the mesh's namespace on the network of its node."""
        ...

    def first_flow(self, to: Place, port: int) -> Fate:
        """Make a pod whose application dials before it does anything else."""
        ...

    def probe(self, probe: Probe, by: ProbeBy, *, alive: bool) -> ProbeResult:
        """Have the kubelet probe an application that answers, or one that does not."""
        ...

    def service(self, pod: Pod, port: int, *, headless: bool = False) -> str:
        """Make a Service of one pod, and return its name in the cluster's DNS."""
        ...

    def resolve(self, pod: Pod, name: str) -> tuple[str, ...]:
        """Ask the cluster's DNS by UDP, from inside a pod, and return the addresses."""
        ...
