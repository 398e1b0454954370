"""A backend with one pod: the captured one, rebuilt with its addresses, rules and routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.facets import (
    FarEnds,
    ForeignPrograms,
    ForgedPackets,
    KernelSettings,
    Sidecars,
    Taps,
)
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.facets import FACETS
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.places import NetnsOutside, NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.programs import Confinement
from pytest_fsmredir.backends.netns.sabotage import Disturbance
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.wiring import (
    CLIENT,
    NODE,
    SECOND_INTERFACE,
    SERVER,
    SILENT,
    VethLink,
)
from pytest_fsmredir.backends.places import is_loopback
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError, ConfigurationError, NotApplicableError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.model.capture import Capture
from pytest_fsmredir.model.captured_sidecar import remarks_on
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Facet, needs_met_by
from pytest_fsmredir.model.flow import Direction, Flow, Protocol
from pytest_fsmredir.model.oracle import expected, level_of
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import GATEWAY
from pytest_fsmredir.traffic.dial import Dial

_KEPT: frozenset[type] = frozenset(
    {Taps, ForgedPackets, ForeignPrograms, KernelSettings, Sidecars, FarEnds}
)
_FACETS = tuple(maker for maker in FACETS if not _KEPT.isdisjoint(maker.__mro__))
_UNSEEN: frozenset[type] = frozenset({ForgedPackets, ForeignPrograms})
"""Facets whose packets the mesh does not see before they are sent."""
_AT_BEST = (
    "a replay judges one pod, not the program that set its rules, so its verdict is at best partial"
)
_OURS = (CLIENT, GATEWAY, NODE, SERVER, SILENT)
_OTHER_LISTS = "the check needs a pod with other lists"
_OFFERED = needs_met_by(_FACETS) | {
    Need.ANSWERING_SIDECAR,
    Need.REMOTE_ADDRESSES,
    Need.CLIENT_ADDRESSES,
    Need.PRIVATE_ADDRESSES,
}


class ReplayBackend(NetnsBackend):
    """The captured pod as a network namespace of this process.

    Attributes:
        capture: The captured pod.
        iptables: The variant of its rules.
    """

    def __init__(
        self,
        capture: Capture,
        implementation: Implementation,
        *,
        families: tuple[int, ...],
        timeout_s: float,
    ) -> None:
        """Make the backend.

        Args:
            capture: The captured pod.
            implementation: Loads its rules and routes.
            families: The IP versions to judge.
            timeout_s: When an answer counts as missing, in seconds.
        """
        self.capture = capture
        self.iptables = IptablesVariant.NFT
        self._rebuilt: Sandbox | None = None
        own = tuple(each for each in families if each in capture.families)
        ours = [each[family] for each in _OURS for family in (4, 6)]
        if taken := [each for each in capture.addresses if each in ours]:
            raise BackendError(
                f"the pod has the address {taken[0]}, which a host outside has in a replay: give"
                " the pod another one in the whole file"
            )
        super().__init__(implementation, families=own, timeout_s=timeout_s, privileged=True)
        self.remarks = (_AT_BEST, *remarks_on(capture))

    def offers(self, family: int) -> frozenset[str]:
        """Return the needs that it can meet for an IP version; both versions have the same."""
        del family
        return _OFFERED

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> NetnsMesh:
        """Return the mesh of one run of one check; the caller closes it."""
        del node
        return ReplayMesh(self, family, iptables, self._timeout_s, exhaustive=exhaustive)

    def rebuilt(self, iptables: IptablesVariant) -> Sandbox:
        """Return the pod; rebuild it on first use.

        Raises:
            BackendError: The rules or routes cannot be loaded on this machine.
            CaptureError: A listing is malformed.
        """
        if self._rebuilt is None:
            with ExitStack() as undo:
                site = self._site(links_of(self.capture, self.families))
                undo.callback(site.close)
                site.configuration = self.capture.configuration
                done = self.program(site, iptables, self.confinement)
                if done.refused:
                    raise BackendError(f"the pod cannot be rebuilt: {done.reason}")
                undo.pop_all()
            self._rebuilt = site
            self._undo.callback(site.close)
        return self._rebuilt

    def shared_site(
        self, configuration: Configuration, iptables: IptablesVariant, second_interface: bool
    ) -> Sandbox:
        """Return the pod; :class:`ReplayMesh` compares its configuration."""
        del configuration, second_interface
        return self.rebuilt(iptables)

    def new_site(
        self,
        configuration: Configuration,
        second_interface: bool,
        family: int | None = None,
        *,
        interface: str = SECOND_INTERFACE,
    ) -> Sandbox:
        """Raise: there is one pod.

        Raises:
            NotApplicableError: Always.
        """
        raise NotApplicableError("the check needs a new pod, and a replay has one pod")


class _Checked(NetnsPlace):
    """A place whose flows are compared with the lists before they are sent."""

    _mesh: ReplayMesh

    def _flow(
        self, to: Place | str, port: int, dial: Dial, protocol: Protocol = Protocol.TCP
    ) -> Flow:
        flow = self._mesh.on_interface(super()._flow(to, port, dial, protocol))
        self._mesh.require_alike(flow)
        return flow


class _Pod(_Checked, NetnsPod):
    """The rebuilt pod."""


class _Outside(_Checked, NetnsOutside):
    """A host outside the pod."""


class ReplayMesh(NetnsMesh):
    """The mesh of one check of a replay.

    A check runs if the document requires the same of each of its flows in the captured pod as in
    the pod that the check asks for.
    """

    _pod_type = _Pod
    _outside_type = _Outside

    def __init__(
        self,
        backend: ReplayBackend,
        family: int,
        iptables: IptablesVariant,
        timeout_s: float,
        *,
        exhaustive: bool,
    ) -> None:
        super().__init__(
            backend, family, iptables, _FACETS, timeout_s=timeout_s, exhaustive=exhaustive
        )
        self._one = backend
        self._own = backend.capture.configuration.policy()
        self._asked = Policy()
        self._wanted: Configuration | None = None
        self._unseen = False

    def another(self) -> NetnsMesh:
        """Return a further mesh of the same kind; the caller closes it."""
        return ReplayMesh(
            self._one, self.family, self.iptables, self.timeout_s, exhaustive=self.exhaustive
        )

    def facet(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol."""
        self._unseen = self._unseen or kind in _UNSEEN
        return super().facet(kind)

    def programmed_pod(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
        *,
        fresh: bool,
        second_interface: bool,
    ) -> NetnsPod:
        """Return the pod if the check can use it.

        Raises:
            NotApplicableError: The check needs another pod.
        """
        if fresh or second_interface:
            raise NotApplicableError("the check needs a new pod, and a replay has one pod")
        wanted = asked_for(annotations, mesh_config)
        if self._wanted not in (None, wanted):
            raise NotApplicableError("the check needs two pods, and a replay has one pod")
        self._wanted = wanted
        try:
            asked = wanted.policy()
        except ConfigurationError:
            raise NotApplicableError("the check needs a pod with a wrong list") from None
        if asked != self._own and self._unseen:
            raise NotApplicableError(_OTHER_LISTS)
        self._asked = asked
        return self.adopt(self._one.rebuilt(self.iptables))

    def program(
        self,
        pod: NetnsPod,
        confinement: Confinement | None = None,
        disturbance: Disturbance | None = None,
    ) -> Programming:
        """Raise: a replay runs no implementation.

        Raises:
            NotApplicableError: Always.
        """
        raise NotApplicableError("the check runs the implementation, and a replay has none")

    def on_interface(self, flow: Flow) -> Flow:
        """Return a flow with the interface of the captured pod that it passes."""
        capture, host = self._one.capture, flow.destination.host
        inside = host in capture.addresses or is_loopback(host)
        if flow.direction is Direction.OUTBOUND and not inside:
            return replace(flow, interface=capture.interface_to(host))
        return replace(flow, interface=capture.interface_of(host))

    def require_alike(self, flow: Flow) -> None:
        """Require that the lists of both pods decide equally about a flow.

        Raises:
            NotApplicableError: They do not.
        """
        if self._asked == self._own:
            return
        own = self._one.capture.addresses
        duties = [
            (expected(policy, flow, own), level_of(policy, flow, own[0]))
            for policy in (self._asked, self._own)
        ]
        if duties[0] != duties[1]:
            raise NotApplicableError(_OTHER_LISTS)


def links_of(capture: Capture, families: tuple[int, ...]) -> tuple[VethLink, ...]:
    """Return the links of the captured pod, with its addresses of some IP versions."""
    return tuple(
        VethLink(
            each.name,
            f"pod1x{number}" if number else "pod1",
            tuple(host for host in each.hosts if (6 if ":" in host else 4) in families),
            number + 1,
        )
        for number, each in enumerate(capture.interfaces)
    )
