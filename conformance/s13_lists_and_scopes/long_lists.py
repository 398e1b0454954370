"""Lists of thousands of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_fsmredir import (
    Address,
    Fate,
    Feature,
    Mesh,
    Need,
    Place,
    Pod,
    Profile,
    Programmer,
    Route,
    Section,
    to_judge,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    INCLUDED_RANGES,
    PORT_EXCLUSIONS,
)

section = Section(13, Profile.EXCLUSIONS, PORT_EXCLUSIONS, families=(4,))

LENGTH = 5000
POWERS = [base**n for base in (2, 10) for n in range(13) if base**n < LENGTH]
ONE_IN = 8  # ranges is of IPv6: that makes more than 512 of them, and more than 4096 of IPv4
UNLISTED = (1, LENGTH + 1, 2 * LENGTH - 1)
OF_IPV6 = "2001:db8:5000::"
ENOUGH_S = 10.0  # an implementation that starts a program for each item is stopped, and has refused


def _ports(first: int) -> list[int]:
    """Return every third port, so that none has a listed neighbour."""
    return [first + 3 * n for n in range(LENGTH)]


def _hosts(mesh: Mesh) -> list[str]:
    """Return addresses of both IP versions; the address after each is not among them."""
    four = _addresses(mesh)
    return [f"{OF_IPV6}{n:x}" if n % (2 * ONE_IN) == 0 else four[n] for n in range(0, len(four), 2)]


def _addresses(mesh: Mesh) -> list[str]:
    """Return twice as many IPv4 addresses as a list is long."""
    networks = (str(mesh.subnet(40 + n)[0]).removesuffix("0") for n in range(2 * LENGTH // 256 + 1))
    return [f"{network}{n}" for network in networks for n in range(256)][: 2 * LENGTH]


def _ranges(hosts: Sequence[str]) -> str:
    return ",".join(f"{host}/{128 if ':' in host else 32}" for host in hosts)


def _places(length: int) -> list[int]:
    """Return the places that show where a list was cut, counted from either end."""
    near = {power - by for power in POWERS for by in (0, 1) if power < length}
    return sorted(near | {length - 1 - place for place in near})


def _fates(
    mesh: Mesh, source: Place, route: Route, to: Place, ports: Sequence[int]
) -> Iterator[Fate]:
    """Yield fates of flows to ports that show where a list was cut."""
    every = [Address(to.address, port) for port in ports]
    told = [every[place] for place in _places(len(every))]
    tried = to_judge(mesh, source, route, told, every)
    yield from source.connect_all(to, [each.port for each in tried])


def _told_hosts(
    mesh: Mesh, pod: Pod, route: Route, hosts: Sequence[str], captured: str
) -> Iterator[str]:
    """Yield hosts that show where the whole list was cut, or its part of one IP version.

    Args:
        mesh: Of the check.
        pod: Whose list it is.
        route: The expected route.
        hosts: The list.
        captured: An IPv6 address; hosts of IPv6 count only where this one is captured.
    """
    both = bool(pod.connect(captured, 8080, answer=False).captured_outbound)
    four, six = ([host for host in hosts if (":" in host) is of_ipv6] for of_ipv6 in (False, True))
    told = [each[place] for each in (hosts, four, six) for place in _places(len(each))]
    sample, every = (
        [Address(h, 8080) for h in some if both or ":" not in h] for some in (told, hosts)
    )
    yield from (each.host for each in to_judge(mesh, pod, route, sample, every))


@section.check("CFG-026", "13.13")
def test_port_lists_of_thousands_are_not_cut(mesh: Mesh, programmer: Programmer) -> None:
    """Port lists of thousands of items MUST be honoured to their last items, or be refused."""
    pod, outbound, inbound = mesh.bare_pod(), _ports(20000), _ports(40001)
    lists = {
        EXCLUDED_OUTBOUND_PORTS: ",".join(map(str, outbound)),
        EXCLUDED_INBOUND_PORTS: ",".join(map(str, inbound)),
    }

    if programmer.try_program(pod, annotations=lists, kill_after_s=ENOUGH_S).accepted:
        assert pod.connect(mesh.server, outbound[-1]).direct
        for fate in _fates(mesh, pod, Route.DIRECT, mesh.server, outbound):
            assert fate.refused or fate.direct
        following = [port + 1 for port in outbound]
        for fate in _fates(mesh, pod, Route.SIDECAR_OUTBOUND, mesh.server, following):
            assert fate.captured_outbound
        assert mesh.client.connect(pod, inbound[-1]).direct
        for fate in _fates(mesh, mesh.client, Route.DIRECT, pod, inbound):
            assert fate.refused or fate.direct
        following = [port + 1 for port in inbound]
        for fate in _fates(mesh, mesh.client, Route.SIDECAR_INBOUND, pod, following):
            assert fate.captured_inbound


@section.check(
    "OIX-020",
    "13.13",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_exclusion_list_of_thousands_is_not_cut(mesh: Mesh, programmer: Programmer) -> None:
    """An exclusion list of thousands of ranges of both IP versions MUST be honoured to its last
    item, or be refused."""
    pod, hosts = mesh.bare_pod(), _hosts(mesh)
    lists = {EXCLUDED_RANGES: _ranges(hosts)}

    if programmer.try_program(pod, annotations=lists, kill_after_s=ENOUGH_S).accepted:
        for n in UNLISTED:
            assert pod.connect(_addresses(mesh)[n], 8081).captured_outbound
        assert pod.connect(hosts[-1], 8081).direct  # port 8080 has no listener yet
        for host in _told_hosts(mesh, pod, Route.DIRECT, hosts, f"{OF_IPV6}f:1"):
            fate = pod.connect(host, 8080, answer=False)
            assert fate.refused or fate.direct


@section.check(
    "OII-021",
    "13.13",
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_inclusion_list_of_thousands_is_not_cut(mesh: Mesh, programmer: Programmer) -> None:
    """An inclusion list of thousands of ranges of both IP versions MUST be honoured to its last
    item, or be refused."""
    pod, hosts = mesh.bare_pod(), _hosts(mesh)
    lists = {INCLUDED_RANGES: _ranges(hosts)}

    if programmer.try_program(pod, annotations=lists, kill_after_s=ENOUGH_S).accepted:
        for n in UNLISTED:
            assert pod.connect(_addresses(mesh)[n], 8080).direct
        assert pod.connect(hosts[-1], 8081).captured_outbound
        for host in _told_hosts(mesh, pod, Route.SIDECAR_OUTBOUND, hosts, hosts[0]):
            assert pod.connect(host, 8080, answer=False).captured_outbound
