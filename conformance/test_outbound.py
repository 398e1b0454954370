"""Outbound capture: which connections of the application the sidecar gets."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import ExitStack

from pytest_fsmredir import MUST, SHOULD, Acceptor, Address, Mesh, Need, Profile, check

# 1500 and 15002 are numbers of FSM's that are no reserved ports; other meshes skip the rest, or
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
RESERVED_PORTS = (15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904)

# Cloud metadata, private, shared and reserved ranges, what clusters use themselves, the neighbours
# of loopback, and public ones.
REMOTE = {
    4: (
        "1.1.1.1", "8.8.8.8", "10.0.0.1", "10.22.141.9", "10.96.0.1", "10.96.0.10",
        "10.171.63.200", "10.240.5.77", "35.180.1.2", "52.94.236.248", "91.189.91.38",
        "100.64.0.1", "126.255.255.254", "128.0.0.1", "146.75.34.133", "169.254.169.254",
        "172.16.0.1", "172.31.255.254", "185.199.108.153", "192.168.0.1", "192.88.99.1",
        "204.79.197.200", "223.255.255.254", "240.0.0.1", "255.255.255.254",
    ),
    6: (
        "2001:4860:4860::8888", "2606:4700::1111", "fd00:10:96::1", "fd00:10:96::a",
        "fd00:ec2::254",
        "fdff:ffff::1", "64:ff9b::808:808", "3fff::1", "::2",
    ),
}  # fmt: skip


@check(
    "OUT-001",
    requirement="TCP from the application to a remote address MUST reach the sidecar's outbound"
    " listener.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_remote_address_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "OUT-002",
    requirement="Outbound capture MUST hold for every destination port when no list is set.",
    spec="SPEC-1.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_every_remote_port_is_captured(mesh: Mesh) -> None:
    sample = {*PORTS, *HIGH_PORTS, *FOREIGN_PORTS, *SPARED_PORTS, *SOME_PORTS}
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(sample)

    for fate in mesh.pod().connect_all(mesh.server, ports):
        assert fate.captured_outbound


@check(
    "OUT-003",
    requirement="An outbound connection MUST pass the sidecar's outbound listener and none of its"
    " others, whatever port it names.",
    spec="SPEC-3.3",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_outbound_connection_passes_the_outbound_listener_alone(mesh: Mesh) -> None:
    pod = mesh.pod()

    with pod.sidecar.forwarding():
        for port in (80, 15001, 15003, 15010):
            fate = pod.connect(mesh.server, port)
            assert fate.captured_outbound
            assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


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
    remote = REMOTE[mesh.family]
    if mesh.exhaustive and mesh.family == 4:
        remote += tuple(
            f"{first}.201.2.3" for first in (*range(1, 127), *range(128, 224), *range(240, 256))
        )

    for address in remote:
        assert pod.connect(address, 443).captured_outbound


@check(
    "OUT-005",
    requirement="The sidecar MUST learn the address and the port that each of several simultaneous"
    " connections had dialled.",
    spec="SPEC-1.4",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.REMOTE_ADDRESSES},
)
def test_original_destinations_are_told_apart(mesh: Mesh) -> None:
    pod = mesh.pod()
    hosts = [str(mesh.subnet(0)[1]), str(mesh.subnet(0)[2]), str(mesh.subnet(1)[1])]

    with ExitStack() as held:
        for host in hosts:
            for port in (80, 81):
                connection = held.enter_context(pod.open(host, port))
                assert connection.fate_by_banner.captured_outbound


@check(
    "OUT-013",
    requirement="Simultaneous connections of several users to one destination MUST all be"
    " captured.",
    spec="SPEC-4.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_connections_of_several_users_are_captured_together(mesh: Mesh) -> None:
    pod = mesh.pod()

    with ExitStack() as held:
        for uid in (0, 1000, 1001, 1337, 1499, 1501):
            connection = held.enter_context(pod.open(mesh.server, 8080, uid=uid))
            assert connection.fate_by_banner.captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "OUT-014",
    requirement="A connection that the application binds to an address and port of its pod MUST be"
    " captured.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_bound_connection_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in (0, 80, 1023, 1500, 15002, 23456, 65535):
        assert pod.connect(mesh.server, 8080, source=Address(pod.address, port)).captured_outbound


@check(
    "OUT-015",
    requirement="A connection to the pod's own node SHOULD be captured, once.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_connection_to_the_node_is_captured_once(mesh: Mesh) -> None:
    pod = mesh.pod()

    with pod.sidecar.forwarding():
        fate = pod.connect(mesh.node, 8015)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)


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
    "OUT-017",
    requirement="A call from one pod to another MUST pass the outbound listener of the first, the"
    " inbound listener of the second and then reach the application, each once.",
    spec="SPEC-4.2",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SIDECAR_CONTROL},
)
def test_call_to_another_pod_passes_both_sidecars(mesh: Mesh) -> None:
    here, there = mesh.pod(), mesh.pod(fresh=True)

    with here.sidecar.forwarding(), there.sidecar.forwarding():
        fate = here.connect(there, 8080)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
        assert fate.forwarded_to(Address(there.address, 8080))


@check(
    "OUT-018",
    requirement="Outbound capture MUST hold whichever of the pod's addresses a connection comes"
    " from.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SECOND_INTERFACE},
)
def test_connection_from_a_second_address_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod(second_interface=True)

    for address in (pod.address, pod.second_address, pod.second_interface_address):
        assert pod.connect(mesh.server, 8080, source=Address(address, 0)).captured_outbound


@check(
    "OUT-019",
    requirement="Outbound capture MUST hold whichever of the pod's interfaces leads to the"
    " destination.",
    spec="SPEC-1.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.SECOND_INTERFACE},
)
def test_connection_through_a_second_interface_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod(second_interface=True)
    beyond = mesh.beyond_second_interface()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert pod.connect(beyond, 8080, interface="net1", uid=1500).direct
