"""Inbound capture: the way from a client, through the sidecar, to the application."""

from __future__ import annotations

import socket

from pytest_fsmredir import (
    INFO,
    MUST,
    SHOULD,
    Acceptor,
    Address,
    ForeignPrograms,
    Mesh,
    Need,
    Pod,
    Profile,
    Sidecars,
    check,
)

PASSED_ON = [Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN]
PAYLOAD = bytes(range(251)) * 2000
RESERVED_PORTS = (15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904)
TCP_FASTOPEN_CONNECT = 30  # linux/tcp.h
# Private, shared, link-local and reserved ranges, those that clusters use themselves, addresses
# from which Istio's ambient mode probes, and public ones.
CLIENTS = {
    4: (
        "1.1.1.1", "8.8.8.8", "10.0.0.1", "10.96.0.1", "10.171.63.200", "10.244.0.1", "35.180.1.2",
        "100.64.0.1", "126.255.255.254", "128.0.0.1", "146.75.34.133", "169.254.7.127",
        "168.63.129.16", "169.254.1.1", "169.254.20.10", "169.254.169.254",
        "172.16.0.1", "172.31.255.254", "192.0.2.77", "192.88.99.1",
        "192.168.0.1", "198.18.0.1", "203.0.113.77", "204.79.197.200", "223.255.255.254",
        "240.0.0.1", "255.255.255.254",
    ),
    6: (
        "2001:4860:4860::8888", "2606:4700::1111", "fd00:10:96::1", "fd00:10:244::1",
        "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", "fdff:ffff::1", "64:ff9b::808:808", "3fff::1",
        "::2",
    ),
}  # fmt: skip
FIRST_OCTETS = (*range(1, 127), *range(128, 224), *range(240, 256))
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


def publish(node: Pod, programs: ForeignPrograms, port: int, at: Address, family: int) -> None:
    """Make a port of a pod lead to another pod, as a node port does.

    Raises:
        OSError: The rules could not be set.
    """
    program = "iptables-restore" if family == 4 else "ip6tables-restore"
    rules = f"""\
*nat
-A PREROUTING -p tcp --dport {port} -j DNAT --to-destination {at}
-A POSTROUTING -p tcp -j MASQUERADE
COMMIT
"""
    script = f"echo 1 > /proc/sys/net/{FORWARDING[family]} && {program} --noflush"
    done = programs.run(node, ["/bin/sh", "-c", script], rules)
    if done.status != 0:
        raise OSError(done.stderr)


def unusual_options(sock: socket.socket) -> None:
    """Make the SYN's options and service class others than everybody's."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 216)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)


@check(
    "IN-003",
    requirement="An inbound connection MUST pass the sidecar's inbound listener and none of its"
    " others.",
    spec="SPEC-3.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_inbound_connection_passes_the_inbound_listener_alone(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for port in (80, 8080, 15002):
            fate = mesh.client.connect(pod, port)
            assert fate.captured_inbound
            assert fate.passed(*PASSED_ON)


@check(
    "IN-008",
    requirement="A connection whose destination was translated on its way to the pod MUST be"
    " captured at the port that it arrives at.",
    spec="SPEC-2.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_connection_through_a_node_port_is_captured(mesh: Mesh, programs: ForeignPrograms) -> None:
    pod, node = mesh.pod(), mesh.bare_pod()
    pod.listen(8080)
    publish(node, programs, 30080, Address(pod.address, 8080), mesh.family)

    fate = mesh.client.connect(node, 30080, answer=False)
    assert fate.captured_inbound_as(Address(pod.address, 8080))
    assert fate.passed(Acceptor.SIDECAR_INBOUND)


@check(
    "IN-012",
    requirement="The sidecar's connection to 127.0.0.1 on behalf of a client MUST reach the"
    " application in one hop.",
    spec="SPEC-6.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_reaches_the_application_in_one_hop(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = mesh.client.connect(pod, 8080)
    assert fate.passed(*PASSED_ON)
    assert fate.forwarded_to(Address(mesh.loopback(), 8080))


@check(
    "IN-013",
    requirement="An application that listens on localhost only MAY be reachable from outside"
    " through the sidecar.",
    spec="SPEC-2.5",
    level=INFO,
    profile=Profile.CORE,
)
def test_localhost_only_application_is_not_exposed(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()
    pod.listen(8093, host=mesh.loopback())

    with sidecars.forwarding(pod):
        fate = mesh.client.connect(pod, 8093, answer=False)
    assert fate.captured_inbound
    assert fate.avoided(Acceptor.ORIGIN)


@check(
    "IN-014",
    requirement="Redirection MUST deliver what a client sends and gets back unchanged, half-close"
    " included.",
    spec="SPEC-1.5",
    level=MUST,
    profile=Profile.CORE,
)
def test_inbound_payload_passes_unchanged(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod), mesh.client.open(pod, 8080) as connection:
        assert connection.fate.captured_inbound
        connection.send(PAYLOAD)
        assert connection.half_closes(mesh.timeout_s)
        assert connection.has_received(PAYLOAD)


@check(
    "IN-015",
    requirement="An inbound connection with unusual options in its SYN SHOULD be captured.",
    spec="SPEC-2.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_unusual_tcp_options_of_a_client_are_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080, prepare=unusual_options).captured_inbound
    assert mesh.client.connect(pod, 15904, prepare=unusual_options).reached(Acceptor.HEALTH)


@check(
    "IN-016",
    requirement="A client's own port MUST NOT decide about inbound capture, the numbers that FSM"
    " reserves included.",
    spec="SPEC-2.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_port_of_the_client_makes_no_difference(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 15904).reached(Acceptor.HEALTH)
    for port in RESERVED_PORTS:
        source = Address(mesh.client.address, port)
        assert mesh.client.connect(pod, 8080, source=source).captured_inbound


@check(
    "IN-017",
    requirement="Inbound capture MUST hold for clients at private, link-local and public addresses"
    " alike.",
    spec="SPEC-2.1",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.CLIENT_ADDRESSES},
)
def test_address_of_the_client_makes_no_difference(mesh: Mesh) -> None:
    pod = mesh.pod()
    clients = [Address(host, 0) for host in CLIENTS[mesh.family]]
    if mesh.exhaustive and mesh.family == 4:
        clients += [Address(f"{first}.201.2.3", 0) for first in FIRST_OCTETS]

    for source in clients:
        assert mesh.client.connect(pod, 8080, source=source).captured_inbound
    if mesh.family == 4:
        source = Address("0.0.0.1", 0)  # Linux before 5.3 takes nothing from there
        if mesh.client.connect(pod, 15904, source=source).reached(Acceptor.HEALTH):
            assert mesh.client.connect(pod, 8080, source=source).captured_inbound
