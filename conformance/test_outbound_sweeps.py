"""Outbound capture and the exemption of UID 1500, port by port and address by address."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from itertools import islice

from pytest_fsmredir import (
    MUST,
    Fate,
    ForeignPrograms,
    Mesh,
    Need,
    Place,
    Pod,
    Profile,
    SecondInterface,
    check,
)

# 1500 and 15002 are numbers of FSM but not reserved ports. Other meshes skip the rest, or
# some of it, without being asked: remote shells, routing, the API server of the cluster, and
# protocols in which the server speaks first.
PORTS = (
    1, 21, 22, 25, 53, 80, 110, 123, 143, 179, 443, 587, 1500, 3306, 4444, 5432, 6379, 6443, 8080,
    9300,
)  # fmt: skip
HIGH_PORTS = (
    10250, 11211, 15002, 15006, 15014, 15021, 27017, 32767, 32768, 60999, 61000, 65534, 65535,
)  # fmt: skip
# What Linkerd, Consul, Kuma, Istio, OSM and Pipy's own admin service reserve for themselves.
FOREIGN_PORTS = (
    4140, 4143, 4190, 4191, 5676, 5678, 5681, 6060, 6061, 8300, 8500, 8501, 8502, 9901, 9902,
    15004, 15008, 15053, 15090, 15128, 15129, 20000, 20100, 20200, 21500, 21502,
)  # fmt: skip
# Databases, caches, queues, agents and node ports that rule sets were seen to spare.
SPARED_PORTS = (111, 2379, 5671, 8126, 9092, 9200, 15020, 27017, 30080, 61001)
SOME_PORTS = random.Random(1).sample(range(1, 65536), 150)  # noqa: S311 - no secret
NEAR_POWERS = {(1 << power) - near for power in range(16) for near in (0, 1)} - {0}
RESERVED_PORTS = (15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904)

# Agents and metadata of clouds, resolvers of nodes, private, shared and reserved ranges, what
# clusters use themselves, the neighbours of loopback, and public ones.
REMOTE = {
    4: (
        "1.1.1.1", "8.8.8.8", "10.0.0.1", "10.22.141.9", "10.43.0.10", "10.96.0.1", "10.96.0.10",
        "10.100.0.10", "10.152.183.1", "34.118.224.10", "100.100.100.200", "168.63.129.16",
        "169.254.0.1", "169.254.20.10", "169.254.25.10", "169.254.169.123", "169.254.169.253",
        "169.254.170.2", "169.254.255.254", "172.17.0.1", "172.20.0.10", "192.0.0.192",
        "10.171.63.200", "10.240.5.77", "35.180.1.2", "52.94.236.248", "91.189.91.38",
        "100.64.0.1", "126.255.255.254", "128.0.0.1", "146.75.34.133", "169.254.169.254",
        "172.16.0.1", "172.31.255.254", "185.199.108.153", "192.168.0.1", "192.88.99.1",
        "204.79.197.200", "223.255.255.254", "240.0.0.1", "255.255.255.254",
    ),
    6: (
        "2001:4860:4860::8888", "2606:4700::1111", "fd00:10:96::1", "fd00:10:96::a",
        "fd00:ec2::23", "fd00:ec2::253", "fd00:ec2::254", "fd20:ce::254", "100::1", "2000::1",
        "2002::1", "fc00::1", "fec0::1",
        "fdff:ffff::1", "64:ff9b::808:808", "3fff::1", "::2",
    ),
}  # fmt: skip
FIRST_OCTETS = (*range(1, 127), *range(128, 224), *range(240, 256))
AT_ONCE = 1024  # ports that a place listens on at a time


def listening_sweep(
    pod: Pod, to: Place, host: str, ports: Iterable[int], uid: int
) -> Iterator[Fate]:
    """Yield the fates of connections to many ports, on each of which a place listens."""
    pending = iter(ports)
    while batch := list(islice(pending, AT_ONCE)):
        with ExitStack() as held:
            for port in batch:
                held.enter_context(to.listening(port))
            yield from pod.connect_all(host, batch, uid=uid)


def remote(mesh: Mesh) -> tuple[str, ...]:
    """Return the remote addresses to try; one of each first octet if all is wanted."""
    more = FIRST_OCTETS if mesh.exhaustive and mesh.family == 4 else ()
    return (*REMOTE[mesh.family], *(f"{first}.201.2.3" for first in more))


def addresses_of_routes(pod: Pod, programs: ForeignPrograms, family: int) -> set[str]:
    """Return the gateways of the pod's routes, and the first and last addresses of their ranges.

    Addresses of the pod itself are left out, those that an implementation adds too: Istio's tool
    adds ::6 to the loopback interface.
    """
    done = programs.run(pod, ["ip", "-json", f"-{family}", "route", "show", "table", "all"])
    every = json.loads(done.stdout)
    own = {route["dst"] for route in every if route.get("type") == "local"}
    routes = [route for route in every if "type" not in route]
    ranges = [ip_network(route["dst"]) for route in routes if route["dst"] != "default"]
    named = {ip_address(route["gateway"]) for route in routes if "gateway" in route}
    named |= {network[place] for network in ranges for place in (0, -1)}
    shown = {str(address) for address in named if family == 4 or not address.is_link_local}
    return shown - own


@check(
    "OUT-002",
    requirement="Outbound capture MUST hold for every destination port when no list is set.",
    spec="SPEC-1.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_every_remote_port_is_captured(mesh: Mesh) -> None:
    sample = {*PORTS, *HIGH_PORTS, *FOREIGN_PORTS, *SPARED_PORTS, *NEAR_POWERS, *SOME_PORTS}
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(sample)

    for fate in mesh.pod().connect_all(mesh.server, ports):
        assert fate.captured_outbound


@check(
    "OUT-016",
    requirement="A remote port whose number FSM reserves MUST be captured like any other.",
    spec="SPEC-1.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_reserved_numbers_are_ordinary_remote_ports(mesh: Mesh) -> None:
    for fate in mesh.pod().connect_all(mesh.server, RESERVED_PORTS):
        assert fate.captured_outbound


@check(
    "OUT-004",
    requirement="Outbound capture MUST hold for private, link-local and public destinations alike"
    " when no list is set.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.REMOTE_ADDRESSES},
)
def test_every_remote_range_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    for address in remote(mesh):
        assert pod.connect(address, 443).captured_outbound


@check(
    "UID-015",
    requirement="A connection of UID 1500 MUST be direct on every destination port.",
    spec="SPEC-4.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_reaches_every_remote_port_directly(mesh: Mesh) -> None:
    pod, server = mesh.pod(), mesh.server
    sample = {*PORTS, *HIGH_PORTS, *SPARED_PORTS, *RESERVED_PORTS, *NEAR_POWERS, *SOME_PORTS[:20]}
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(sample)

    assert pod.connect(server, 8080, answer=False).captured_outbound
    for fate in listening_sweep(pod, server, server.address, ports, uid=1500):
        assert fate.direct


@check(
    "UID-016",
    requirement="A connection of UID 1500 MUST be direct to private, link-local and public"
    " destinations alike.",
    spec="SPEC-4.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.REMOTE_ADDRESSES, Need.PRIVATE_ADDRESSES},
)
def test_sidecar_reaches_every_remote_range_directly(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 443).captured_outbound
    for address in remote(mesh):
        assert pod.connect(address, 443, uid=1500).direct


@check(
    "OUT-028",
    requirement="Connections to the gateways that the pod's routes name, and to the first and last"
    " addresses of their ranges, MUST be captured, and be direct from UID 1500.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_addresses_of_the_routes_are_captured(
    mesh: Mesh, programs: ForeignPrograms, second: SecondInterface
) -> None:
    pod = second.pod()
    named = addresses_of_routes(pod, programs, mesh.family)

    assert pod.connect(mesh.server, 443).captured_outbound
    for address in sorted(named - {*pod.addresses}):
        assert pod.connect(address, 443).captured_outbound
        assert pod.connect(address, 443, uid=1500).direct
