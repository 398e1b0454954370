"""Connections that the kernel tracks: many, alike and lost ones."""

from __future__ import annotations

from contextlib import ExitStack

from pytest_fsmredir import (
    Address,
    Direction,
    Fate,
    Flow,
    ForeignPrograms,
    ForgedPackets,
    KernelSettings,
    Mesh,
    Need,
    Profile,
    Section,
    Taps,
    forge,
)

section = Section(15, Profile.CORE)

BEYOND_ANY_WINDOW = 1 << 30
WITH_DATA = 60  # the longest TCP header, with all its options, in bytes


@section.check("CT-001", "15.2")
def test_one_client_port_reaches_two_pod_ports_at_once(mesh: Mesh) -> None:
    """Two connections from one client address and port to two ports of the pod SHOULD both be
    captured, each with its own original destination."""
    pod = mesh.pod()
    source = Address(mesh.client.address, 20001)

    with (
        mesh.client.open(pod, 8080, source=source) as one,
        mesh.client.open(pod, 8081, source=source) as other,
    ):
        assert one.fate_by_banner.captured_inbound
        assert other.fate_by_banner.captured_inbound
        assert other.echoes(b"other", mesh.timeout_s)
        assert one.echoes(b"one", mesh.timeout_s)


@section.check("CT-002", "15.2")
def test_one_application_port_reaches_several_servers_at_once(mesh: Mesh) -> None:
    """Connections from one application address and port to several remote ends SHOULD all be
    captured, each with its own original destination."""
    pod = mesh.pod()
    source = Address(pod.address, 20002)

    with (
        pod.open(mesh.server, 8080, source=source) as one,
        pod.open(mesh.server, 8081, source=source) as same_host,
        pod.open(mesh.client, 8080, source=source) as same_port,
    ):
        for connection in (one, same_host, same_port):
            assert connection.fate_by_banner.captured_outbound
            assert connection.echoes(b"each its own", mesh.timeout_s)


@section.check("CT-003", "15.3")
def test_connections_short_of_source_ports_do_not_leak(mesh: Mesh, kernel: KernelSettings) -> None:
    """With three source ports to choose from, each of many connections of the application SHOULD
    be captured or fail at once."""
    pod = mesh.pod(fresh=True)

    with kernel.changed(pod, {"ipv4/ip_local_port_range": "40000 40002"}):
        assert pod.connect(mesh.server, 8080).captured_outbound
        for n in range(1000 if mesh.exhaustive else 40):
            fate = pod.connect(mesh.server, 8080 + n % 2)
            assert fate.captured_outbound or fate.failed_at_once


@section.check("CT-004", "15.6")
def test_captured_connection_outlives_a_stray_segment(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A segment from beyond the window MAY end a captured inbound connection; a reset is
    recorded."""
    pod = mesh.pod()

    with taps.of(pod) as tap, mesh.client.open(pod, 8080) as connection:
        assert connection.fate.captured_inbound
        server = connection.flow.destination
        last = [packet for packet in tap.packets() if packet.destination == server][-1]
        seq = last.seq + BEYOND_ANY_WINDOW
        stray = forge.tcp(last.source, server, forge.ACK, seq=seq, ack=last.ack, payload=b"stray")
        forged.inject(mesh.client, stray)
        tap.expect("the stray segment", stray.matches)
        assert connection.echoes(b"still here", mesh.timeout_s)


@section.check("CT-005", "15.3")
def test_reused_source_port_does_not_leak(mesh: Mesh) -> None:
    """A connection that reuses the source port of an ended one SHOULD be captured or fail at
    once."""
    pod = mesh.pod()
    source = Address(pod.address, 20005)

    with pod.open(mesh.server, 8080, source=source) as connection:
        assert connection.fate.captured_outbound
        assert connection.half_closes(mesh.timeout_s)
    for port in (8081, 8081, 8082, 8080):  # another end, one that was reset, the one that waits
        fate = pod.connect(mesh.server, port, source=source)
        assert fate.captured_outbound or fate.failed_at_once


@section.check("CT-006", "15.1")
def test_connection_with_a_repeated_syn_is_captured(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """An inbound connection whose SYN has to be sent again MUST be captured."""
    pod = mesh.pod()
    client, server = Address(forged.silent_address(), 20006), Address(pod.address, 8080)
    flow, mark = Flow(Direction.INBOUND, server), len(pod.acceptances())
    syn = forge.tcp(client, server, forge.SYN, seq=1000)

    with taps.of(pod) as tap:
        forged.inject(mesh.client, syn)
        answer = tap.expect("an answer to the SYN", lambda packet: packet.goes(server, client))
        if answer.ends:
            assert Fate(flow, client, (), "refused").captured_inbound
        forged.inject(mesh.client, syn)  # as if that answer had been lost
        reply = tap.expect("another answer", lambda packet: packet.goes(server, client))
        forged.inject(
            mesh.client, forge.tcp(client, server, forge.ACK, seq=1001, ack=reply.seq + 1)
        )
        tap.expect(
            "data", lambda packet: packet.goes(server, client) and len(packet.body) > WITH_DATA
        )
        forged.inject(mesh.client, forge.tcp(client, server, forge.RST, seq=1001))
    path = tuple(each for each in pod.acceptances()[mark:] if each.peer == client)
    assert Fate(flow, client, path).captured_inbound


@section.check("CT-007", "15.2", needs={Need.ANSWERING_SIDECAR})
def test_mirrored_connections_do_not_mix(mesh: Mesh) -> None:
    """An outbound connection that mirrors an open inbound one, in one end or in both, SHOULD NOT
    be mixed up with it."""
    pod = mesh.pod()
    here, there = Address(pod.address, 20008), Address(mesh.client.address, 20007)

    with mesh.client.open(pod, here.port, source=there, answer=False) as inbound:
        assert inbound.fate_by_banner.captured_inbound
        assert pod.connect(mesh.client, there.port, answer=False).captured_outbound
        assert pod.connect(mesh.client, 8080, source=here).captured_outbound
        mirror = pod.connect(mesh.client, there.port, source=here, answer=False)
        # By TPROXY the sidecar's socket has these very ends already: the kernel has no second.
        assert mirror.captured_outbound or mirror.failed_at_once
        assert inbound.echoes(b"not mixed", mesh.timeout_s)


@section.check("CT-008", "15.5")
def test_untracked_connection_is_captured(mesh: Mesh, programs: ForeignPrograms) -> None:
    """A connection that the kernel does not track, as when its table is full, MAY be refused or go
    uncaptured."""
    pod = mesh.pod(fresh=True)
    iptables = "iptables" if mesh.family == 4 else "ip6tables"
    for chain, port in (("OUTPUT", "--dport"), ("PREROUTING", "--sport")):
        rule = [chain, "-p", "tcp", port, "8080", "-j", "CT", "--notrack"]
        added = programs.run(pod, [iptables, "-t", "raw", "-A", *rule])
        if added.status != 0:
            raise RuntimeError(added.stderr)

    assert pod.connect(mesh.server, 8081).captured_outbound
    assert pod.connect(mesh.server, 8080).captured_outbound


@section.check("CT-009", "15.1")
def test_many_connections_of_the_application_are_captured(mesh: Mesh) -> None:
    """Each of hundreds of connections that the application has open at once MUST be captured and
    answered."""
    pod = mesh.pod()

    with ExitStack() as held:
        for _ in range(mesh.crowd):
            connection = held.enter_context(pod.open(mesh.server, 8080))
            assert connection.fate_by_banner.captured_outbound


@section.check("IN-011", "15.1")
def test_many_connections_at_once_are_captured(mesh: Mesh) -> None:
    """Each of hundreds of connections open at once MUST be captured and answered."""
    pod = mesh.pod()

    with ExitStack() as held:
        for _ in range(mesh.crowd):
            connection = held.enter_context(mesh.client.open(pod, 8080))
            assert connection.fate_by_banner.captured_inbound
