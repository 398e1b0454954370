"""Steps that several checks share. They set up and send; the checks judge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from itertools import islice

from pytest_fsmredir.backends.base import Mesh, Place, Pod
from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.flow import Address, Direction, Fate, Route
from pytest_fsmredir.model.vocabulary import (
    FIRST_OCTETS,
    FORWARDING_SETTING,
    LOCAL_PORTS,
    REMOTE_HOSTS,
    RESERVED_PORTS,
)

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


def add_foreign_rules(programs: ForeignPrograms, pod: Pod, family: int, rules: str) -> None:
    """Add rules of others to a pod, and keep those that it has.

    Args:
        programs: Runs ``iptables-restore`` in the pod.
        pod: The pod.
        family: IP version of the rules.
        rules: Input of ``iptables-restore``.

    Raises:
        BackendError: The rules could not be added.
    """
    program = "iptables-restore" if family == 4 else "ip6tables-restore"
    done = programs.run(pod, [program, "--noflush"], rules)
    if done.status != 0:
        raise BackendError(f"foreign rules could not be added: {done.stderr}")


def translate(
    programs: ForeignPrograms, pod: Pod, to: Address | str, port: int | None = None
) -> None:
    """Make TCP to a pod lead to another place, as a node does with a service or a node port.

    Args:
        programs: Runs programs in the pod.
        pod: The pod.
        to: The address, or the address and port, that takes the place of the pod's own.
        port: Destination port of the connections; None is every port.

    Raises:
        BackendError: The pod could not be set up.
    """
    family = ip_address(pod.address).version
    matched = f" --dport {port}" if port else ""
    setting = f"/proc/sys/net/{FORWARDING_SETTING[family]}"
    done = programs.run(pod, ["/bin/sh", "-c", f"echo 1 > {setting}"])
    if done.status != 0:
        raise BackendError(f"forwarding could not be switched on: {done.stderr}")
    add_foreign_rules(
        programs,
        pod,
        family,
        f"*nat\n-A PREROUTING -p tcp{matched} -j DNAT --to-destination {to}\n"
        "-A POSTROUTING -p tcp -j MASQUERADE\nCOMMIT\n",
    )


def to_judge(
    mesh: Mesh,
    source: Place,
    route: Route,
    sample: Iterable[Address],
    every: Iterable[Address],
    *,
    uid: int | None = None,
) -> list[Address]:
    """Return the destinations that a check about many destinations of one place connects to.

    Args:
        mesh: Of the check.
        source: Where the flows start.
        route: The expected route.
        sample: Destinations that it connects to in any case.
        every: All destinations. An exhaustive run also connects to those whose first packet was not
            seen to take the route.
        uid: Owner of the sockets.
    """
    chosen = dict.fromkeys(sample)
    if mesh.exhaustive:
        others = [each for each in every if each not in chosen]
        chosen |= dict.fromkeys(source.not_taking(route, others, uid=uid))
    return list(chosen)


def ports_to_judge(
    mesh: Mesh,
    source: Place,
    route: Route,
    to: Place | str,
    sample: Iterable[int],
    *,
    uid: int | None = None,
) -> list[int]:
    """Return the ports that a check about every port connects to; see :func:`to_judge`."""
    host = to if isinstance(to, str) else to.address
    told = (Address(host, port) for port in sample)
    every = (Address(host, port) for port in range(1, 65536))
    return sorted(each.port for each in to_judge(mesh, source, route, told, every, uid=uid))


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
    """Yield the fates of a pod's connections to its own ports, on each of which it listens.

    Left out are the ports whose first packet was seen to be direct.
    """
    ports = ports_to_judge(mesh, pod, Route.DIRECT, host, LOCAL_PORTS, uid=uid)
    tried = (port for port in ports if port not in RESERVED_PORTS)
    yield from listening_sweep(pod, pod, host, tried, uid)
