"""Send many flows between a pod of a cluster and a server in the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.places import KubePlace
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.model.flow import Address, Fate, Flow, Protocol
from pytest_fsmredir.probing.aim import ProbeFlow

_PAYLOAD = b"fsmredir"


class KubeHosts:
    """Sends flows of one pod; see :class:`pytest_fsmredir.probing.network.Hosts`."""

    def __init__(self, mesh: KubeMesh, pod: KubePod) -> None:
        self._mesh, self._pod = mesh, pod

    def listen(self, flow: Flow) -> None:
        """Start a listener at the destination of a flow if there is none."""
        if flow.protocol is Protocol.TCP:  # UDP servers listen only while datagrams are sent
            self._mesh.answerer(self._place(flow), flow.destination.host).answer(flow)

    def send(self, probes: Iterable[ProbeFlow]) -> Iterator[Fate]:
        """Send flows in batches by user and host; yield fates in the given order."""
        flows = list(probes)
        fates: dict[int, Fate] = {}
        groups: dict[object, list[int]] = {}
        for number, probe in enumerate(flows):
            groups.setdefault(_batch_key(number, probe), []).append(number)
        for members in groups.values():
            fates |= zip(members, self._send([flows[each] for each in members]), strict=True)
        return (fates[number] for number in range(len(flows)))

    def _send(self, probes: Sequence[ProbeFlow]) -> Iterator[Fate]:
        """Send flows that differ in their ports only."""
        (flow, source_port), place = probes[0], self._place(probes[0].flow)
        host, port = flow.destination
        if flow.protocol is Protocol.UDP:
            yield place.datagram(host, port, uid=flow.uid, payload=_PAYLOAD)
        elif source_port is not None:
            source = Address(place.address, source_port)
            yield place.connect(host, port, uid=flow.uid, source=source, answer=False)
        else:
            ports = [each.flow.destination.port for each in probes]
            yield from place.connect_all(host, ports, uid=flow.uid)

    def _place(self, flow: Flow) -> KubePlace:
        """Return the place from which a flow is sent."""
        return self._mesh.client if flow.uid is None else self._pod


def _batch_key(number: int, probe: ProbeFlow) -> object:
    """Return the batch key of a flow; a flow that is sent alone has a unique key."""
    flow = probe.flow
    alone = flow.protocol is Protocol.UDP or probe.source_port is not None
    return number if alone else (flow.uid, flow.destination.host)
