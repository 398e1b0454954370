"""The header of a connection's first packet, with one field at a time unlike the usual one."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from functools import partial

from pytest_fsmredir import (
    MUST,
    SHOULD,
    Address,
    Direction,
    Fate,
    Flow,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Profile,
    Taps,
    check,
    forge,
    syns,
)

CLOSED = 20024  # a port on which nothing listens, in the pod or outside
FIRST_PORT, SIDECARS_FIRST_PORT = 21000, 23000
HOP_LIMITS = (8, 32, 63, 65, 127, 128, 129, 254, 255)
SERVICES = range(0, 256, 4)  # every DSCP (RFC 2474)
SEGMENT_SIZES, BUFFERS = (88, 536, 1220, 1400, 8960), (2304, 65536, 1 << 20)
RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])  # RFC 791: room for one address, end of options
PADDING = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # RFC 8200: a destination options header of nothing
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_AUTOFLOWLABEL = 10, 23, 70  # linux/in.h, linux/in6.h


def with_option(level: int, option: int, value: int, sock: socket.socket) -> None:
    """Set an option of the socket."""
    sock.setsockopt(level, option, value)


def ip_options(sock: socket.socket) -> None:
    """Put options into the IP header."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, PADDING)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE)


def options_of_sockets(family: int) -> Iterator[tuple[int, int, int]]:
    """Yield level, option and value of what changes one field of a SYN."""
    if family == 4:
        level, hop_limit, service = socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS
        yield from ((level, IP_MTU_DISCOVER, how) for how in (0, 2, 3))
    else:
        level, hop_limit = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
        service = socket.IPV6_TCLASS
        yield from ((level, IPV6_MTU_DISCOVER, 3), (level, IPV6_AUTOFLOWLABEL, 0))
    yield from ((level, hop_limit, hops) for hops in HOP_LIMITS)
    yield from ((level, service, byte) for byte in SERVICES)
    yield from ((socket.IPPROTO_TCP, socket.TCP_MAXSEG, size) for size in SEGMENT_SIZES)
    yield from ((socket.SOL_SOCKET, socket.SO_RCVBUF, size) for size in BUFFERS)


def send_as_both(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, made: Mapping[str, syns.Make]
) -> None:
    """Send SYNs as the application and as the sidecar, and see the sidecar's alone leave."""
    pod, server = mesh.pod(), Address(mesh.server.address, CLOSED)
    assert pod.connect(mesh.server, 8080).captured_outbound
    with taps.of(pod) as tap:
        for number, (name, make) in enumerate(made.items()):
            application = Address(pod.address, FIRST_PORT + number)
            sent = make(Address(pod.address, SIDECARS_FIRST_PORT + number), server)
            forged.inject(pod, make(application, server))
            forged.inject(pod, sent, uid=1500)
            left = tap.expect(
                f"the sidecar's SYN {name}",
                lambda packet: packet.opens and packet.destination == server,
            )
            assert left.source != application, f"a SYN of the application {name} left the pod"
            assert left.matches(sent), f"the sidecar's SYN {name} was changed"


def send_from_outside(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, made: Mapping[str, syns.Make], *, answered: bool
) -> None:
    """Send SYNs to a closed port of the pod: an answer that is not a refusal is the sidecar's.

    Args:
        mesh: Of the check.
        taps: Show the answers.
        forged: Send the SYNs.
        made: What makes the SYNs.
        answered: Each has to be answered; else it may be dropped, and a usual one follows it.
    """
    pod = mesh.pod()
    closed = Address(pod.address, CLOSED)
    with taps.of(pod) as tap:
        for number, (name, make) in enumerate(made.items()):
            client = Address(forged.silent_address(), FIRST_PORT + number)
            sent = [make(client, closed)]
            if not answered:
                follower = client._replace(port=SIDECARS_FIRST_PORT + number)
                sent.append(syns.unlike()(follower, closed))
            for packet in sent:
                forged.inject(mesh.client, packet)
            answer = tap.expect(f"an answer to a SYN {name}", lambda each: each.source == closed)
            for packet in sent:
                end = forge.tcp(packet.source, closed, forge.RST, seq=packet.seq + 1)
                forged.inject(mesh.client, end)
            fate = Fate(Flow(Direction.INBOUND, closed), client, (), "refused")
            assert not answer.ends or fate.captured_inbound, f"a SYN {name}"


@check(
    "OUT-024",
    requirement="A connection of the application MUST be captured, and one of UID 1500 MUST be"
    " direct, whatever hop limit, service class, segment size or window it has, and whether it may"
    " be fragmented or not.",
    spec="SPEC-1.7",
    level=MUST,
    profile=Profile.CORE,
)
def test_socket_options_make_no_difference(mesh: Mesh) -> None:
    pod = mesh.pod()
    prepared = [partial(with_option, *each) for each in options_of_sockets(mesh.family)]

    for prepare in prepared:
        assert pod.connect(mesh.server, 8080, prepare=prepare).captured_outbound
    for prepare in prepared if mesh.exhaustive else prepared[::4]:  # OUT-025 sends all as 1500
        assert pod.connect(mesh.server, 8080, prepare=prepare, uid=1500).direct


@check(
    "OUT-026",
    requirement="A connection that asks for ECN MUST be captured, and be direct from UID 1500.",
    spec="SPEC-1.7",
    level=MUST,
    profile=Profile.CORE,
)
def test_connection_with_ecn_is_captured(mesh: Mesh, kernel: KernelSettings) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    with kernel.changed(pod, {"ipv4/tcp_ecn": "1"}):  # of both IP versions
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert pod.connect(mesh.loopback(), 8080).direct


@check(
    "OUT-025",
    requirement="A SYN of the application MUST NOT leave the pod, and one of UID 1500 MUST leave,"
    " whichever field of its header is unlike the usual one.",
    spec="SPEC-1.7",
    level=MUST,
    profile=Profile.CORE,
)
def test_header_of_the_syn_makes_no_difference(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    send_as_both(mesh, taps, forged, syns.variations(mesh.family))


@check(
    "OUT-027",
    requirement="A SYN of the application SHOULD NOT leave the pod for a flag that no SYN usually"
    " has.",
    spec="SPEC-1.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_unusual_flags_of_the_syn_do_not_leak(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    send_as_both(mesh, taps, forged, syns.UNUSUAL)


@check(
    "IN-018",
    requirement="A connection from outside MUST be captured whichever field of its SYN's header is"
    " unlike the usual one.",
    spec="SPEC-2.7",
    level=MUST,
    profile=Profile.CORE,
)
def test_header_of_a_clients_syn_makes_no_difference(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    send_from_outside(mesh, taps, forged, syns.variations(mesh.family), answered=True)


@check(
    "IN-019",
    requirement="A connection from outside SHOULD NOT reach the application uncaptured for a flag"
    " of its SYN that no SYN usually has; it may be dropped.",
    spec="SPEC-2.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_unusual_flags_of_a_clients_syn_do_not_leak(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    send_from_outside(mesh, taps, forged, syns.UNUSUAL, answered=False)


@check(
    "IN-020",
    requirement="A connection from outside with IP options SHOULD be captured or refused, and never"
    " be direct.",
    spec="SPEC-2.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_ip_options_of_a_client_do_not_leak(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    fate = mesh.client.connect(pod, 8080, prepare=ip_options)
    assert fate.captured_inbound or fate.unanswered
