"""Steps that several checks share. They set up and send; the checks judge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from itertools import islice

from pytest_fsmredir.backends.base import Mesh, Place, Pod
from pytest_fsmredir.model.flow import Direction, Fate
from pytest_fsmredir.model.vocabulary import FIRST_OCTETS, LOCAL_PORTS, REMOTE_HOSTS, RESERVED_PORTS

_AT_ONCE = 1024  # ports that a place listens on at a time: each is an open file


def range_of(*places: Place) -> str:
    """Return the list of ranges that hold the addresses of some places and no others."""
    return ",".join(str(ip_network(place.address)) for place in places)


def ranges_around(mesh: Mesh, pod: Pod) -> str:
    """Return the range of the pod's address alone, and one of the size of a pod network."""
    network = ip_network(f"{pod.address}/{24 if mesh.family == 4 else 64}", strict=False)
    return f"{range_of(pod)},{network}"


def remote_hosts(mesh: Mesh) -> tuple[str, ...]:
    """Return remote addresses to try; one of each first octet if the run is exhaustive."""
    more = FIRST_OCTETS if mesh.exhaustive and mesh.family == 4 else ()
    return (*REMOTE_HOSTS[mesh.family], *(f"{first}.201.2.3" for first in more))


def ends(mesh: Mesh, pod: Pod, direction: Direction) -> tuple[Place, Place]:
    """Return the source and the destination of flows between a pod and the outside."""
    return (pod, mesh.server) if direction is Direction.OUTBOUND else (mesh.client, pod)


def listening_sweep(
    pod: Pod, to: Place, host: str, ports: Iterable[int], uid: int
) -> Iterator[Fate]:
    """Yield the fates of a pod's connections to many ports, on each of which a place listens.

    Args:
        pod: The source.
        to: The place that listens.
        host: The address to dial.
        ports: The ports.
        uid: Owner of the client sockets.
    """
    pending = iter(ports)
    while batch := list(islice(pending, _AT_ONCE)):
        with ExitStack() as held:
            for port in batch:
                held.enter_context(to.listening(port))
            yield from pod.connect_all(host, batch, uid=uid)


def local_sweep(mesh: Mesh, pod: Pod, host: str, uid: int) -> Iterator[Fate]:
    """Yield the fates of a pod's connections to its own ports, on each of which it listens."""
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(LOCAL_PORTS)
    tried = (port for port in ports if port not in RESERVED_PORTS)
    yield from listening_sweep(pod, pod, host, tried, uid)
