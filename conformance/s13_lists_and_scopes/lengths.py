"""Lists of dozens of items, in any order."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from pytest_fsmredir import (
    MUST,
    Case,
    Direction,
    Feature,
    Mesh,
    Need,
    Place,
    Profile,
    Programmer,
    Route,
    SearchTools,
    Section,
    ends,
    range_of,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import (
    ALL_LISTS,
    AWKWARD_RANGES,
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    EXCLUDING_INBOUND,
    EXCLUDING_OUTBOUND,
    EXCLUDING_RANGES,
    EXCLUSIONS,
    INCLUDED_RANGES,
    INCLUDING_RANGES,
    MESH_EXCLUDED_INBOUND_PORTS,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_RANGES,
    NESTED_RANGES,
    RESERVED_PORTS,
)

section = Section(13, Profile.EXCLUSIONS, {Feature.OUTBOUND_IP_RANGE_EXCLUSION})

T = TypeVar("T")
USUAL_PORTS = (22, 53, 80, 443)  # ports that other programs treat specially
LENGTHS = (31, 300)  # 15 ports are all that one match of iptables holds
# Lists are cut at such places, or dealt out in portions of such sizes.
EDGES = frozenset(n + by for n in (0, 15, 16, 32, 64, 100, 128, 200, 256) for by in (0, 1))
MORE_LENGTHS = (1, 15, 16, 17, 30, 31, 45, 100, 300)


def _ports(length: int) -> list[int]:
    """Return ports in threes of neighbours, each with a fourth that is one port further on."""
    first = 20000 + 20 * length
    return [first + 11 * (place // 4) + (0, 1, 2, 4)[place % 4] for place in range(length)]


def _beside(ports: list[int]) -> list[int]:
    """Return the ports that are not listed but have a neighbour at either end or in the middle."""
    middle = len(ports) // 2
    near = ports[:4] + ports[middle : middle + 4] + ports[-4:]
    return sorted({port + step for port in near for step in (-1, 1)} - set(ports))


def _telling(items: list[T]) -> list[T]:
    """Return the items of a list that show where it was cut; of a short list all."""
    if len(items) <= 64:
        return items
    return [item for n, item in enumerate(items) if n in EDGES or n == len(items) - 1]


def _odd(place: Place, other: Place) -> list[str]:
    """Return odd lists that can only mean a place's address; one means another place's too."""
    only, bare = range_of(place), ip_address(place.address)
    masked = [f"{bare}/255.255.255.255"] if bare.version == 4 else []
    lines = f"{range_of(other)}\n{only}"
    return [f"{only},", f",{only}", f"{only},,{only}", lines, str(bare), *masked]


def _plain(network: IPv4Network | IPv6Network) -> dict[str, IPv4Network | IPv6Network]:
    """Return odd items that can mean one range only, and that range.

    RFC 1918 writes 10/8 and 192.168/16; RFC 4291 allows no such form for IPv6. To inet_aton(3), and
    to iptables, a number with a leading zero is octal, to other programs decimal.
    """
    single = ip_network(network[7])
    if network.version == 6:
        return {str(network[7]): single}
    a, b, c, _ = str(network[0]).split(".")
    short, masked = str(network).replace(".0/", "/"), network.with_netmask
    padded = f"{a}.{b}.{int(c):03}.0/24"
    return {str(network[7]): single, **dict.fromkeys((short, masked, padded), network)}


def _next_to(place: Place) -> str:
    return str(ip_address(place.address) + 1)


def _hosts(mesh: Mesh, length: int) -> list[str]:
    """Return twice as many addresses as a list is long, of which it holds every second one."""
    return [str(mesh.subnet(length // 16 + n // 256)[n % 256]) for n in range(2 * length)]


@section.check_each(
    Case("OPX-005", "13.7", "outbound port lists of any length hold", **EXCLUDING_OUTBOUND),
    Case("IPX-005", "13.7", "inbound port lists of any length hold", **EXCLUDING_INBOUND),
)
def test_port_lists_of_any_length_hold(
    mesh: Mesh, *, listed: str, direction: Direction, captured: Route
) -> None:
    """Every port of an {way} port exclusion list MUST be direct however long the list is,
    neighbours included, and no port between them."""
    for length in MORE_LENGTHS if mesh.exhaustive else LENGTHS:
        ports = _ports(length)
        pod = mesh.pod(annotations={listed: ",".join(map(str, ports))})
        here, there = ends(mesh, pod, direction)

        for fate in here.connect_all(there, _beside(ports)):
            assert fate.takes(captured)
        for fate in here.connect_all(there, _telling(ports)):
            assert fate.refused or fate.direct
        for port in {ports[0], ports[length // 2], ports[-1]}:
            assert here.connect(there, port).direct


@section.check_each(
    Case("OIX-004", "13.7", "exclusion lists of any length hold", **EXCLUDING_RANGES),
    Case("OII-009", "13.7", "inclusion lists of any length hold", **INCLUDING_RANGES),
    needs={Need.REMOTE_ADDRESSES},
)
def test_range_lists_of_any_length_hold(
    mesh: Mesh, *, listed: str, inside: Route, outside: Route
) -> None:
    """Every range of an {kind} list MUST be {fate} however long the list is, and nothing between
    them."""
    for length in (2, 15, 16, 17, 64, 300) if mesh.exhaustive else (16, 300):
        hosts = _hosts(mesh, length)
        ranges = [ip_network(host) for host in hosts[::2]]
        pod = mesh.pod(annotations={listed: ",".join(map(str, ranges))})

        for host in (hosts[1], hosts[length | 1], hosts[-1]):
            assert pod.connect(host, 8080).takes(outside)
        for host in _telling(hosts[::2]):
            assert pod.connect(host, 8080).takes(inside)


@section.check("CFG-027", "13.7", profile=Profile.INCLUSIONS, features=ALL_LISTS)
def test_long_lists_of_every_kind_hold_together(mesh: Mesh) -> None:
    """Every item MUST count to the last one also in a pod whose lists are all long."""
    others, ports = [mesh.subnet(20 + number) for number in range(30)], [*_ports(30), 6379]
    lists = {
        INCLUDED_RANGES: _text([*others, range_of(mesh.node), range_of(mesh.server)]),
        EXCLUDED_RANGES: _text([*others, range_of(mesh.node)]),
        EXCLUDED_OUTBOUND_PORTS: _text(ports),
        EXCLUDED_INBOUND_PORTS: _text(ports),
    }
    pod = mesh.pod(annotations=lists)

    assert pod.connect(mesh.server, 8080).captured_outbound
    for host, port in ((mesh.client, 8080), (mesh.node, 8080), (mesh.server, 6379)):
        assert pod.connect(host, port).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 6379).direct


@section.check_each(
    Case(
        "OIX-015", "13.8", "odd exclusion items are refused or honoured", act="exempt",
        **EXCLUDING_RANGES,
    ),
    Case(
        "OII-017", "13.8", "odd inclusion items are refused or honoured", act="capture",
        **INCLUDING_RANGES,
    ),
    needs={Need.REMOTE_ADDRESSES},
)  # fmt: skip
def test_odd_ranges_are_refused_or_honoured(
    mesh: Mesh, programmer: Programmer, *, listed: str, inside: Route, outside: Route
) -> None:
    """An {kind} list with an empty item, with a newline in place of a comma, or with an address
    without a prefix length, MUST be refused, or {act} what it names and nothing else."""
    pod = mesh.bare_pod()

    for value in _odd(mesh.server, mesh.node):
        if programmer.try_program(pod, annotations={listed: value}).accepted:
            for host in (mesh.client, _next_to(mesh.server)):
                assert pod.connect(host, 8080).takes(outside)
            assert mesh.client.connect(pod, 8080).captured_inbound
            assert pod.connect(mesh.server, 8080).takes(inside)


@section.check("OIX-019", "13.8", needs={Need.REMOTE_ADDRESSES})
def test_plain_exclusion_items_of_either_scope_keep_their_meaning(mesh: Mesh) -> None:
    """An exclusion list of either scope with an address without a prefix length, or with a range
    in short form, with a mask or with a leading zero, MUST be refused, or exempt what it names and
    nothing else."""
    for item, network in _plain(mesh.subnet(12)).items():
        for lists in (
            {"annotations": {EXCLUDED_RANGES: item}},
            {"mesh_config": {MESH_EXCLUDED_RANGES: [item]}},
        ):
            if mesh.try_pod(**lists).accepted:
                pod = mesh.pod(**lists)
                for host in (mesh.server.address, str(network[0] - 1), str(network[-1] + 1)):
                    assert pod.connect(host, 8080).captured_outbound
                for address in (network[0], network[-1]):
                    assert pod.connect(str(address), 8080).direct


@section.check("ALL-007", "13.7", features=EXCLUSIONS, needs={Need.CLIENT_ADDRESSES})
def test_every_flow_follows_long_lists(mesh: Mesh, tools: SearchTools) -> None:
    """With dozens of ranges and more than 100 ports of both scopes in each exclusion list, every
    connection that there can be MUST follow them."""
    # One match holds 15 ports, so 105 ports fill 7 matches, and one more port needs another match.
    sizes = (106, 105) if mesh.family == 4 else (105, 106)
    own = len(RESERVED_PORTS) + len(USUAL_PORTS)
    outbound, inbound = _ports(sizes[0] - own), _ports(sizes[1] - len(USUAL_PORTS))
    ranges = (*NESTED_RANGES[mesh.family], *AWKWARD_RANGES[mesh.family])
    lists = {
        EXCLUDED_OUTBOUND_PORTS: _text(
            [*RESERVED_PORTS, *USUAL_PORTS, *outbound[10:], outbound[-1]]
        ),
        EXCLUDED_INBOUND_PORTS: _text([*inbound[10:], *USUAL_PORTS]),
        EXCLUDED_RANGES: _text(ranges[:-10]),
    }
    of_mesh = {
        MESH_EXCLUDED_OUTBOUND_PORTS: [*outbound[:10], outbound[-1]],
        MESH_EXCLUDED_INBOUND_PORTS: inbound[:10],
        MESH_EXCLUDED_RANGES: ranges[-10:],
    }
    assert search_pod(mesh, tools, MUST, lists, mesh_config=of_mesh).agrees


def _text(items: Iterable[object]) -> str:
    return ",".join(map(str, items))
