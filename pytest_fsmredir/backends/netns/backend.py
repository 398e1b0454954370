"""The netns backend: pods and the outside world as network namespaces of this process."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from pytest_fsmredir import layout
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.container import ContainerLimits, with_mounts_of_its_own
from pytest_fsmredir.backends.netns.facets import FACETS
from pytest_fsmredir.backends.netns.idling import IDLE_S
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.preflight import has_nat
from pytest_fsmredir.backends.netns.programs import (
    ALL_CAPABILITIES,
    Confinement,
    StandInToolbox,
    Toolbox,
    start_inside,
)
from pytest_fsmredir.backends.netns.reserve import RESERVED_PODS, Links, Reserve
from pytest_fsmredir.backends.netns.sabotage import (
    Disturbance,
    HoldingToolbox,
    SabotagedToolbox,
)
from pytest_fsmredir.backends.netns.sandbox import MakeSidecar, Sandbox
from pytest_fsmredir.backends.netns.steps import Steps, steps
from pytest_fsmredir.backends.netns.wiring import SECOND_INTERFACE, VethLink, wire_world
from pytest_fsmredir.backends.pod_parts import Memory
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.implementations.base import (
    OF_IPTABLES,
    Implementation,
    IptablesVariant,
)
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import needs_met_by
from pytest_fsmredir.sidecars.pipy import Pipy, PipySidecar
from pytest_fsmredir.sidecars.recorder import Recorder
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.host import Host

_OFFERED = needs_met_by(FACETS) | {
    Need.ANSWERING_SIDECAR,
    Need.REMOTE_ADDRESSES,
    Need.CLIENT_ADDRESSES,
    Need.PRIVATE_ADDRESSES,
    Need.DEFAULT_CLUSTER_RANGES,
    Need.BOTH_VARIANTS,
}


_SOON_FORGOTTEN = {"netfilter/nf_conntrack_tcp_timeout_close": "1"}
"""Seconds that connection tracking remembers a connection that was reset, instead of 10.

If the client reset the connection, a SYN with the same addresses and ports opens a new one. If the
server reset it, the SYN takes the route of the old connection and passes no rule
(nf_conntrack_tcp_packet, linux/net/netfilter/nf_conntrack_proto_tcp.c). The kernel chooses source
ports from one sequence for all namespaces, so parallel runs reuse a port within seconds.
"""


class NetnsBackend:
    """Pods as network namespaces. Needs the privileges of :mod:`.privileges`.

    Attributes:
        families: The IP versions that its pods have.
        world: The namespace outside all pods.
        outside: The host for flows from and to the world.
        confinement: The default limits of init commands.
        idle_s: The minimum time that idle connections stay idle.
        programs_started: Numbers of programs that the implementation starts to program a pod,
            as far as counted.
        memory: What the checks learnt about the implementation.
    """

    name = "netns"
    kept = ""
    remarks: Sequence[str] = ()

    def __init__(
        self,
        implementation: Implementation,
        *,
        families: tuple[int, ...],
        timeout_s: float,
        init_timeout_s: float = 30.0,
        privileged: bool = False,
        pipy: Path | None = None,
        in_advance: bool = True,
    ) -> None:
        self._init_timeout_s = init_timeout_s
        self.idle_s = IDLE_S
        self.programs_started: dict[IptablesVariant, int] = {}
        self.memory = Memory()
        self._implementation = implementation
        self.families = families
        self._timeout_s = timeout_s
        self._shared: dict[str, Sandbox] = {}
        self._toolboxes: dict[IptablesVariant, Toolbox] = {}
        self._links = Links(families)
        _raise_descriptor_limit()
        with ExitStack() as undo:
            self._limits = undo.enter_context(closing(ContainerLimits()))
            self.confinement = self._confined(privileged=privileged)
            self._engine = Engine()
            undo.callback(self._engine.close)
            self.world = Namespace()
            undo.callback(self.world.close)
            wire_world(self.world, families)
            self.outside = Host(self._engine, self.world.socket, timeout_s)
            self._make_sidecar = _recorder if pipy is None else self._pipy(pipy, undo)
            # Pipy's records arrive while the engine is pumped, which only one thread may do.
            ahead = RESERVED_PODS if in_advance and pipy is None else 0
            self._reserve = Reserve(lambda: self._site(self._links.plain()), ahead)
            undo.callback(self._reserve.close)
            undo.callback(self._remove_shared)
            self._undo = undo.pop_all()

    def offers(self, family: int) -> frozenset[str]:
        """Return the needs that it can meet for an IP version; both versions have the same."""
        del family
        return _OFFERED - self._lacking

    @cached_property
    def _lacking(self) -> set[Need]:
        return set() if all(map(has_nat, OF_IPTABLES)) else {Need.BOTH_VARIANTS}

    def prepare(self, wanted: Iterable[Wanted]) -> None:
        """Do nothing: creating a pod on demand is fast enough."""

    def renew(self) -> bool:
        """Return False: nothing of this machine's namespaces gets lost."""
        return False

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> NetnsMesh:
        """Return the mesh of one run of one check, on this machine; the caller closes it."""
        del node
        return NetnsMesh(
            self, family, iptables, FACETS, timeout_s=self._timeout_s, exhaustive=exhaustive
        )

    def shared_site(
        self, configuration: Configuration, iptables: IptablesVariant, second_interface: bool
    ) -> Sandbox:
        """Return the shared pod with these settings; create and program it on first use."""
        key = json.dumps(
            [
                dict(configuration.annotations),
                {name: list(values) for name, values in configuration.traffic.items()},
                iptables,
                second_interface,
            ],
            sort_keys=True,
        )
        if key not in self._shared:
            with ExitStack() as undo:  # a pod that could not be programmed is not shared
                site = self.new_site(configuration, second_interface)
                undo.callback(site.close)
                self.program(site, iptables, self.confinement)
                undo.pop_all()
            self._shared[key] = site
            with suppress(OSError):  # some kernels have no such setting per namespace
                site.namespace.sysctl(_SOON_FORGOTTEN)
        return self._shared[key]

    def new_site(
        self,
        configuration: Configuration,
        second_interface: bool,
        family: int | None = None,
        *,
        interface: str = SECOND_INTERFACE,
    ) -> Sandbox:
        """Return a new, unprogrammed pod.

        Args:
            configuration: The configuration of its next programming.
            second_interface: Give it a second interface and a second address.
            family: Its only IP version; None for all versions of the backend.
            interface: The name of the second interface.
        """
        if second_interface:
            site = self._site(self._links.larger(interface))
        elif family is None or self.families == (family,):
            site = self._reserve.take()
        else:
            site = self._site(self._links.single(family))
        site.configuration = configuration
        return site

    def program(
        self,
        site: Sandbox,
        iptables: IptablesVariant,
        confinement: Confinement,
        disturbance: Disturbance | None = None,
    ) -> Programming:
        """Run the implementation on a pod."""
        toolbox = self.toolbox(iptables)
        if disturbance is None:
            return site.program(self._implementation, site.init_run(toolbox, confinement))
        with closing(SabotagedToolbox(toolbox, disturbance)) as harmed:
            doomed = replace(confinement, killed_by=harmed.killed_by)
            programming = site.program(self._implementation, site.init_run(harmed, doomed))
            return replace(programming, started=harmed.started)

    def program_in_steps(
        self, site: Sandbox, iptables: IptablesVariant, confinement: Confinement
    ) -> AbstractContextManager[Steps]:
        """Run the implementation on a pod in the background, for the block."""
        tools = HoldingToolbox(self.toolbox(iptables))
        run = site.init_run(tools, confinement)
        return steps(
            tools, lambda: site.program(self._implementation, run), (site.host, self.outside)
        )

    def judge_next(self, implementation: Implementation, *, privileged: bool = False) -> None:
        """Replace the implementation, and remove the pods that the last one programmed."""
        self._remove_shared()
        self.confinement = self._confined(privileged=privileged)
        self.programs_started.clear()
        self.memory = Memory()
        self._implementation = implementation

    def toolbox(self, variant: IptablesVariant) -> Toolbox:
        """Return the programs of a variant."""
        if variant not in self._toolboxes:
            self._toolboxes[variant] = Toolbox(variant)
        return self._toolboxes[variant]

    def foreign_toolbox(self, variant: IptablesVariant) -> Toolbox:
        """Return the programs that add foreign rules in a pod of a variant."""
        if variant is not IptablesVariant.NATIVE:
            return self.toolbox(variant)
        return self._foreign_toolbox

    @cached_property
    def _foreign_toolbox(self) -> Toolbox:
        variant = next(filter(has_nat, OF_IPTABLES), None)
        return self.toolbox(variant) if variant else StandInToolbox()

    def close(self) -> None:
        """Remove every pod and the world."""
        self._undo.close()

    def _confined(self, *, privileged: bool) -> Confinement:
        if privileged:
            return Confinement(
                capabilities=ALL_CAPABILITIES,
                timeout_s=self._init_timeout_s,
                limit=with_mounts_of_its_own,
            )
        return Confinement(timeout_s=self._init_timeout_s, limit=self._limits.enter)

    def _remove_shared(self) -> None:
        while self._shared:
            self._shared.popitem()[1].close()

    def _site(self, links: tuple[VethLink, ...]) -> Sandbox:
        return Sandbox(self._engine, self.world, links, self._timeout_s, self._make_sidecar)

    def _pipy(self, program: Path, undo: ExitStack) -> MakeSidecar:
        pipy = undo.enter_context(
            closing(Pipy(program, layout.fixtures() / "sidecar" / "recorder.js", self._engine))
        )

        def make(site: Sandbox) -> PipySidecar:
            enter = partial(start_inside, site.namespace)
            return PipySidecar(pipy, site.host, site.link.families, set(site.addresses), enter)

        return make


def _recorder(site: Sandbox) -> Recorder:
    return Recorder(site.host, site.link.families, set(site.addresses))


def _raise_descriptor_limit() -> None:
    """Raise the descriptor limit to the maximum: each pod uses a few dozen."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
