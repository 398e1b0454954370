"""A pod in a network namespace as an end of many flows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_network
from itertools import groupby

from pytest_fsmredir.backends.facets import (
    ForeignPrograms,
    ForgedPackets,
    KernelSettings,
    Taps,
)
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.source import NetnsSource
from pytest_fsmredir.backends.netns.wiring import BEHIND_SECOND_INTERFACE, CLIENT, SERVER, SILENT
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import Proven
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Fate, Flow
from pytest_fsmredir.model.flow import Protocol as Transport
from pytest_fsmredir.model.reserved import ANY, LOOPBACK
from pytest_fsmredir.probing import search as every_flow
from pytest_fsmredir.probing.aim import RESERVED_PORTS, ProbeFlow, ProbeTargets
from pytest_fsmredir.probing.listing import Listing, read_rules
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.host import Host

_APP_UID = 1000
_PAYLOAD = b"fsmredir"


class NetnsHosts:
    """A pod and the outside as hosts. Flows pass no mesh: that would slow down many of them.

    Attributes:
        scene: The addresses of the pod and of the hosts.
        own_addresses: Every address of the pod except loopback.
    """

    def __init__(self, backend: NetnsSource, site: Sandbox, scene: ProbeTargets) -> None:
        self._backend, self._site, self.scene = backend, site, scene
        self._listening: set[tuple[bool, Transport, Address]] = set()
        self._undo = ExitStack()
        self.own_addresses = site.addresses

    def listen(self, flow: Flow) -> None:
        """Make the destination of a flow answer, if it does not already."""
        host, port = flow.destination
        in_pod = host in self.own_addresses or host.startswith("127.") or host == "::1"
        is_tcp = flow.protocol is Transport.TCP
        if is_tcp and in_pod and port in RESERVED_PORTS:
            return  # the sidecar listens there
        address = Address(ANY[self.scene.family], port) if is_tcp else flow.destination
        if (in_pod, flow.protocol, address) in self._listening:
            return
        self._listening.add((in_pod, flow.protocol, address))
        place, uid = (self._site.host, _APP_UID) if in_pod else (self._backend.outside, 0)
        listen = place.listen if is_tcp else place.listen_datagrams
        self._undo.callback(listen(address, uid=uid).close)

    def send(self, probes: Iterable[ProbeFlow]) -> Iterator[Fate]:
        """Send flows, several at once, and yield their fates in the given order."""
        for (protocol, from_pod, port), group in groupby(probes, key=_how):
            host = self._site.host if from_pod else self._backend.outside
            flows = (probe.flow for probe in group)
            if protocol is Transport.UDP:
                yield from (host.datagram(flow, payload=_PAYLOAD) for flow in flows)
            else:
                yield from self._connect_all(host, flows, from_pod, port)

    def close(self) -> None:
        """Close all listeners."""
        self._undo.close()

    def _connect_all(
        self, host: Host, flows: Iterable[Flow], from_pod: bool, port: int | None
    ) -> Iterator[Fate]:
        if from_pod:
            source = None if port is None else Address(self.scene.pod, port)
        else:
            source = Address(CLIENT[self.scene.family], port or 0)
        return host.connect_all(flows, Dial(source=source))


class NetnsTrialNetwork(NetnsHosts):
    """A new pod for one generated configuration; :meth:`close` removes it."""

    def __init__(self, kind: NetnsMesh, configuration: Configuration) -> None:
        """Make a pod like those of a mesh."""
        self._kind, self._configuration = kind, configuration
        self._listing: Listing | None = None
        with_second = bool(configuration.policy().network_interface_exclusion_list)
        site = kind.backend.new_site(configuration, with_second)
        super().__init__(kind.backend, site, scene_of(site, kind.family))
        self._undo.callback(site.host.engine.forget_log)
        self._undo.callback(site.close)

    def program(self) -> Programming:
        """Run the implementation on the pod."""
        return self._backend.program(self._site, self._kind.iptables, self._backend.confinement)

    def search(self, level: Level) -> Proven:
        """Compare every flow of a level with the rules in the pod, and send those that differ."""
        with closing(self._kind.another()) as mesh:
            pod, programs = mesh.adopt(self._site), mesh.facet(ForeignPrograms)
            self._listing = self._listing or read_rules(programs, pod)
            return every_flow.search(
                mesh,
                pod,
                programs,
                mesh.facet(KernelSettings),
                mesh.facet(Taps),
                mesh.facet(ForgedPackets),
                level,
                self._configuration,
                self.scene.beyond,
                listing=self._listing,
                one_of_many=True,
            ).agrees


def scene_of(site: Sandbox, family: int) -> ProbeTargets:
    """Return the addresses of a pod and of the hosts around it."""
    with_second = len(site.links) > 1
    behind = ip_network(BEHIND_SECOND_INTERFACE[family])
    return ProbeTargets(
        family=family,
        server=SERVER[family],
        pod=_addresses_on(site, 0, family)[0],
        loopback=LOOPBACK[family],
        silent=SILENT[family],
        second=next(iter(_addresses_on(site, 1, family)), None) if with_second else None,
        beyond=str(behind[10]) if with_second else None,
    )


def _addresses_on(site: Sandbox, link: int, family: int) -> list[str]:
    return [each for each in site.links[link].addresses if ip_address(each).version == family]


def _how(probe: ProbeFlow) -> tuple[Transport, bool, int | None]:
    """Return the properties that flows must share to be sent together."""
    return probe.flow.protocol, probe.flow.uid is not None, probe.source_port
