"""The mesh of one check: handles on pods and the world, and the cleanup when the check ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, NoReturn

from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.netns.kernel import highest_id
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.places import NetnsOutside, NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.netns.programs import Confinement
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.wiring import (
    BEHIND_SECOND_INTERFACE,
    CLIENT,
    NODE,
    SERVER,
    SILENT,
    wire_nested,
)
from pytest_fsmredir.backends.places import (
    APP_UID,
    is_loopback,
    not_offered,
    remote_subnet,
    require_accepted,
)
from pytest_fsmredir.backends.programming import Programming, Sabotage
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.reserved import LOOPBACK
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME
from pytest_fsmredir.traffic.host import Host

if TYPE_CHECKING:
    from pytest_fsmredir.backends.netns.backend import NetnsBackend


class NetnsMesh:
    """The argument of one check; see :class:`pytest_fsmredir.backends.base.Mesh`.

    Attributes:
        observed: Flows sent and programming attempts made; 0 identifies a check that observed
            nothing.
        watch: Called after each flow of :meth:`NetnsPlace.connect_all`, with the number of flows so
            far, and the total if it is known.
    """

    def __init__(
        self,
        backend: NetnsBackend,
        family: int,
        iptables: IptablesVariant,
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
        self.server = NetnsOutside(self, backend.outside, SERVER[family], 0)
        self.client = NetnsOutside(self, backend.outside, CLIENT[family], 0)
        self.node = NetnsOutside(self, backend.outside, NODE[family], 0)
        self._pods: list[NetnsPod] = []

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
        second_interface: bool = False,
    ) -> NetnsPod:
        """Return a programmed pod."""
        configuration = asked_for(annotations, mesh_config)
        if fresh:
            pod = self._fresh(configuration, second_interface)
            require_accepted(pod.try_program(), configuration)
            return pod
        with ONE_AT_A_TIME:
            site = self.backend.shared_site(configuration, self.iptables, second_interface)
        require_accepted(site.programming, configuration)
        return self._handle(site)

    def bare_pod(self, *, second_interface: bool = False, single_family: bool = False) -> NetnsPod:
        """Return an unprogrammed pod."""
        return self._fresh(Configuration(), second_interface, single_family=single_family)

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Program a fresh pod, and return the result."""
        configuration = asked_for(annotations, mesh_config)
        return self._fresh(configuration).try_program()

    def nested(self, site: Sandbox) -> NetnsPlace:
        """Return a container nested in a pod; both are removed when the check ends."""
        namespace = Namespace()
        self.undo.callback(namespace.close)
        # An implementation may have switched the other family off in the pod.
        link = wire_nested(namespace, site.namespace, self.backend.world, site.link.of(self.family))
        host = Host(site.host.engine, namespace.socket, self.timeout_s)
        return NetnsPlace(self, host, link.addresses[0], APP_UID)

    def programs_started(self) -> int:
        """Return how many packet filter programs the implementation starts to program a pod."""
        counted = self.backend.programs_started
        if self.iptables not in counted:
            counting = self.bare_pod().try_program(sabotage=Sabotage(at=0))
            counted[self.iptables] = counting.started
        return counted[self.iptables]

    @cached_property
    def highest_id(self) -> int:
        """The highest user and group id in the user namespace of this process."""
        return highest_id()

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses."""
        return remote_subnet(self.family, number)

    def beyond_second_interface(self) -> str:
        """Return a remote address that a second interface leads to."""
        return str(ip_network(BEHIND_SECOND_INTERFACE[self.family])[10])

    def silent_address(self) -> str:
        """Return an outside address that answers nothing."""
        return SILENT[self.family]

    def loopback(self) -> str:
        """Return the loopback address."""
        return LOOPBACK[self.family]

    @property
    def workloads(self) -> NoReturn:
        """Not offered here."""
        not_offered("workloads")

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

    def pod_names(self) -> set[str]:
        """Return the names of the pods that the check used."""
        return {pod.name for pod in self._pods}

    def close(self) -> None:
        """Close everything that the check opened."""
        self.undo.close()

    def _fresh(
        self,
        configuration: Configuration,
        second_interface: bool = False,
        single_family: bool = False,
    ) -> NetnsPod:
        only = self.family if single_family else None
        site = self.backend.new_site(configuration, second_interface, only)
        self.undo.callback(site.close)
        return self._handle(site)

    def _handle(self, site: Sandbox) -> NetnsPod:
        pod = NetnsPod(self, site)
        self._pods.append(pod)
        return pod
