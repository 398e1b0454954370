"""Steps that several checks share. They set up and send; the checks judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
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


def ports_to_judge(
    mesh: Mesh, sample: Iterable[int], screen: Callable[[Iterable[int]], Iterable[int]]
) -> list[int]:
    """Return the ports that a check about every port connects to.

    Args:
        mesh: Of the check.
        sample: Ports that it connects to in any case.
        screen: Returns those of some ports whose first packet was not seen to take the expected
            route. An exhaustive run connects to them, too.
    """
    chosen = set(sample)
    if mesh.exhaustive:
        chosen.update(screen([port for port in range(1, 65536) if port not in chosen]))
    return sorted(chosen)


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
    screen = partial(pod.not_taking, Route.DIRECT, host, uid=uid)
    ports = ports_to_judge(mesh, LOCAL_PORTS, screen)
    tried = (port for port in ports if port not in RESERVED_PORTS)
    yield from listening_sweep(pod, pod, host, tried, uid)
