"""The mesh of one check: handles on pods and the world, and the cleanup when the check ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.facets import ForeignPrograms, MadeFacets
from pytest_fsmredir.backends.netns.capturing import captured
from pytest_fsmredir.backends.netns.kernel import highest_id
from pytest_fsmredir.backends.netns.pausing import enter
from pytest_fsmredir.backends.netns.places import NetnsOutside, NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod, own_pod
from pytest_fsmredir.backends.netns.programs import Confinement
from pytest_fsmredir.backends.netns.sabotage import Disturbance
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.source import NetnsSource
from pytest_fsmredir.backends.netns.wiring import CLIENT, NODE, SECOND_INTERFACE, SERVER
from pytest_fsmredir.backends.places import (
    is_loopback,
    remote_subnet,
    require_accepted,
    suspects_of,
)
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.protocols import Take
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Facet
from pytest_fsmredir.model.flow import Fate
from pytest_fsmredir.model.reserved import LOOPBACK
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME


class NetnsMesh:
    """The argument of one check; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        observed: Flows sent and programming attempts made; 0 identifies a check that observed
            nothing.
        watch: Called after each flow of :meth:`NetnsPlace.connect_all`, with the number of flows so
            far, and the total if it is known.
    """

    python = sys.executable
    _pod_type: type[NetnsPod] = NetnsPod
    _outside_type: type[NetnsOutside] = NetnsOutside

    def __init__(
        self,
        backend: NetnsSource,
        family: int,
        iptables: IptablesVariant,
        facets: Iterable[Callable[[NetnsMesh], object]] = (),
        *,
        timeout_s: float,
        exhaustive: bool,
    ) -> None:
        self.backend, self.family, self.iptables = backend, family, iptables
        self.timeout_s, self.exhaustive = timeout_s, exhaustive
        self.crowd = 1100 if exhaustive else 320
        self.observed = 0
        self.watch: Callable[[int, int | None], None] = lambda _done, _total: None
        self.undo = ExitStack()
        self.confinement: Confinement = backend.confinement
        self.server, self.client, self.node = (
            self._outside_type(self, backend.outside, addresses[family], 0)
            for addresses in (SERVER, CLIENT, NODE)
        )
        self._pods: list[NetnsPod] = []
        self._makers = tuple(facets)
        self._facets = MadeFacets(self, self._makers)

    def another(self) -> NetnsMesh:
        """Return a further mesh of the same kind, with no pods yet; the caller closes it."""
        return NetnsMesh(
            self.backend,
            self.family,
            self.iptables,
            self._makers,
            timeout_s=self.timeout_s,
            exhaustive=self.exhaustive,
        )

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> NetnsPod:
        """Return a programmed pod."""
        return self.programmed_pod(annotations, mesh_config, fresh=fresh, second_interface=False)

    def programmed_pod(
        self,
        annotations: Mapping[str, str] | None,
        mesh_config: Mapping[str, Sequence[object]] | None,
        *,
        fresh: bool,
        second_interface: bool,
    ) -> NetnsPod:
        """Return a programmed pod, with a second interface if that is requested."""
        configuration = asked_for(annotations, mesh_config)
        if fresh:
            pod = self.new_pod(configuration, second_interface=second_interface)
            require_accepted(self.program(pod), configuration)
            return pod
        with ONE_AT_A_TIME:
            site = self.backend.shared_site(configuration, self.iptables, second_interface)
        require_accepted(site.programming, configuration)
        return self.adopt(site)

    def bare_pod(self) -> NetnsPod:
        """Return an unprogrammed pod."""
        return self.new_pod()

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Program a fresh pod, and return the result."""
        configuration = asked_for(annotations, mesh_config)
        return self.program(self.new_pod(configuration))

    def program(
        self,
        pod: NetnsPod,
        confinement: Confinement | None = None,
        disturbance: Disturbance | None = None,
    ) -> Programming:
        """Run the implementation on a pod."""
        self.observed += 1
        limits = confinement or self.confinement
        return self.backend.program(pod.site, self.iptables, limits, disturbance)

    def facet(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol."""
        return self._facets.get(kind)

    def new_pod(
        self,
        configuration: Configuration | None = None,
        *,
        second_interface: bool = False,
        interface: str = SECOND_INTERFACE,
        single_family: bool = False,
    ) -> NetnsPod:
        """Return a new, unprogrammed pod, which is removed when the check ends."""
        only = self.family if single_family else None
        asked = configuration or Configuration()
        site = self.backend.new_site(asked, second_interface, only, interface=interface)
        self.undo.callback(site.close)
        return self.adopt(site)

    @cached_property
    def highest_id(self) -> int:
        """The highest user and group id in the user namespace of this process."""
        return highest_id()

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    def answerer(self, dialler: NetnsPlace, host: str) -> NetnsPlace:
        """Return the place that an address belongs to, seen from the dialler."""
        if is_loopback(host):
            return dialler
        return next((pod for pod in self._pods if pod.is_own(host)), self.server)

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations of the check's pods."""
        return tuple(pod.configuration for pod in self._pods)

    def losses(self) -> list[str]:
        """Return what the implementation removed from the check's pods."""
        return list(dict.fromkeys(loss for pod in self._pods for loss in pod.losses()))

    def suspects(self, fate: Fate | None) -> list[NetnsPod]:
        """Return the pods that a flow left and reached; every pod without a flow."""
        return list(self._pods) if fate is None else suspects_of(fate, self._pods)

    def sent_again(self, pod: Pod, fate: Fate) -> dict[str, str | bytes]:
        """Send a flow once more, and return what both sides and the kernel saw, as files."""
        legacy = self.iptables is IptablesVariant.LEGACY
        return captured(self.backend, self.client, own_pod(pod), fate, legacy=legacy)

    def inspect(self, pod: Pod, argv: Sequence[str]) -> Completed:
        """Run a program of ours in a pod as root."""
        return self.facet(ForeignPrograms).run(pod, argv)

    def particulars(self, pod: Pod) -> list[tuple[str, Take]]:
        """Return what the implementation ran last, and its environment."""
        return [("implementation", own_pod(pod).implementation_files)]

    def enter(self, pod: Pod) -> None:
        """Run a shell in a pod on the terminal of this process, until it ends."""
        enter(own_pod(pod), self.backend.foreign_toolbox(self.iptables))

    def pod_names(self) -> set[str]:
        """Return the names of the pods that the check used."""
        return {pod.name for pod in self._pods}

    def close(self) -> None:
        """Close everything that the check opened."""
        self.undo.close()

    def adopt(self, site: Sandbox) -> NetnsPod:
        """Return the check's one handle of a pod: two would open the same listener twice."""
        for known in self._pods:
            if known.site is site:
                return known
        pod = self._pod_type(self, site)
        self._pods.append(pod)
        return pod
