"""Facets that run the implementation on a pod, or programs that are not part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.facets import (
    ForeignPrograms,
    KernelSettings,
    Programmer,
    Sabotage,
)
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import own_place, own_pod
from pytest_fsmredir.backends.netns.programs import no_limit
from pytest_fsmredir.backends.netns.sabotage import Disturbance, held_lock
from pytest_fsmredir.backends.netns.steps import Steps
from pytest_fsmredir.backends.netns.tracing import traced
from pytest_fsmredir.backends.netns.wiring import forget_gateway
from pytest_fsmredir.backends.places import require_accepted
from pytest_fsmredir.backends.pod_parts import Memory, Tracing
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.implementations.base import Completed
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.tracing import TracedRule, Tracer


class NetnsProgrammer(Programmer):
    """Runs the implementation on a pod."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def program(
        self,
        pod: Pod,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Run the implementation; a refusal fails the check."""
        programming = self.try_program(pod, annotations=annotations, mesh_config=mesh_config)
        require_accepted(programming, own_pod(pod).configuration)

    def try_program(
        self,
        pod: Pod,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
    ) -> Programming:
        """Run the implementation, and return the result."""
        own_pod(pod).configure(annotations, mesh_config)
        usual = self._mesh.confinement
        confinement = replace(
            usual,
            capabilities=usual.capabilities if capabilities is None else capabilities,
            timeout_s=usual.timeout_s if kill_after_s is None else kill_after_s,
        )
        return self._mesh.program(own_pod(pod), confinement)


class NetnsSabotage(Sabotage):
    """Disturbs the implementation while it programs a pod."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def program(self, pod: Pod, *, at: int | None, kills: bool = False) -> Programming:
        """Disturb the programs that the implementation starts."""
        return self._mesh.program(own_pod(pod), disturbance=Disturbance(at, kills))

    def programs_started(self) -> int:
        """Return how many packet filter programs the implementation starts to program a pod."""
        counted, iptables = self._mesh.backend.programs_started, self._mesh.iptables
        if iptables not in counted:
            counted[iptables] = self.program(self._mesh.bare_pod(), at=0).started
        return counted[iptables]

    def in_steps(
        self, pod: Pod, *, annotations: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Steps]:
        """Run the implementation for the block, in steps."""
        mesh = self._mesh
        own_pod(pod).configure(annotations)
        mesh.observed += 1
        return mesh.backend.program_in_steps(own_pod(pod).site, mesh.iptables, mesh.confinement)

    def holding_xtables_lock(self, pod: Pod) -> AbstractContextManager[None]:
        """Hold the lock of the pod's legacy iptables until a program waits for it."""
        return held_lock(own_pod(pod).site.lock)


class NetnsTracing(Tracing):
    """The kernel's trace of the first packets of flows through the rules of a pod."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def rules(self, protocol: int, transport: bytes) -> frozenset[TracedRule] | None:
        """Return the rules that packets matched since the last call."""
        return self._tracer.rules(protocol, transport)

    def inject(self, place: Place, packet: Packet, *, uid: int | None = None) -> None:
        """Send a packet made by hand."""
        own_place(place).inject(packet, uid, None)


class NetnsForeignPrograms(ForeignPrograms):
    """Runs programs in pods that do not belong to the implementation."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    @property
    def memory(self) -> Memory:
        """What earlier checks of the run learnt from such programs."""
        return self._mesh.backend.memory

    def run(self, pod: Pod, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program in the pod."""
        toolbox = self._mesh.backend.foreign_toolbox(self._mesh.iptables)
        # A program of the node, which has no limits, may have loaded foreign rules.
        confinement = replace(self._mesh.confinement, limit=no_limit)
        return own_pod(pod).site.init_run(toolbox, confinement).run(argv, stdin)

    @contextmanager
    def tracing(self, pod: Pod, *, legacy: bool) -> Iterator[NetnsTracing]:
        """Trace the packets that open flows through the pod's rules."""
        namespace = own_pod(pod).site.namespace
        with traced(namespace, self._mesh.family, legacy=legacy) as tracer:
            yield NetnsTracing(tracer)


class NetnsKernelSettings(KernelSettings):
    """Changes the network settings of a pod's kernel."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    @contextmanager
    def changed(self, pod: Pod, values: Mapping[str, str]) -> Iterator[None]:
        """Change settings for the block."""
        namespace = own_pod(pod).site.namespace
        before = namespace.changed_sysctl(values)
        try:
            yield
        finally:
            namespace.sysctl(before)

    def forget_gateway(self, pod: Pod) -> None:
        """Make the pod resolve its gateway's link address again."""
        site = own_pod(pod).site
        forget_gateway(site.namespace, site.link, self._mesh.family)
