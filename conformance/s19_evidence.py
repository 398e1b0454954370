"""The instruments of a run: they must be seen to work before they judge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_fsmredir import (
    Acceptor,
    Address,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Need,
    Profile,
    Protocol,
    Section,
    Taps,
    forge,
)

section = Section(19, Profile.CORE)

OWNERS = (0, 1000, 1499, 1500, 1501)
MARKED_GROUP = 1500
LISTENER_OF_UID = 20000
LISTENER_OF_GROUP = 23000


class InstrumentError(Exception):
    """The harness does not do what the checks rely on; nothing it says can be trusted."""


@contextmanager
def instruments_on_trial() -> Iterator[None]:
    """Make a failed assertion of the block an error of the harness."""
    try:
        yield
    except AssertionError as error:
        raise InstrumentError from error


@section.check("SAN-001", "19.1")
def test_flows_of_an_unprogrammed_pod_are_direct(mesh: Mesh) -> None:
    """Before a pod is programmed, every flow into it and out of it MUST be direct."""
    pod = mesh.bare_pod()

    with instruments_on_trial():
        for here, there in ((pod, mesh.server), (mesh.client, pod)):
            assert here.connect(there, 8080).direct
            assert here.datagram(there, 8080).direct
            assert here.ping(there).direct
        assert pod.connect(mesh.loopback(), 8080).direct
        assert mesh.client.connect(pod, 8081, answer=False).refused


@section.check("SAN-005", "19.1")
def test_socket_is_told_of_an_error_made_by_hand(mesh: Mesh, forged: ForgedPackets) -> None:
    """A forged ICMP error MUST be reported to the socket that it is about."""
    pod = mesh.bare_pod()
    kind, code = (11, 0) if mesh.family == 4 else (3, 0)

    with instruments_on_trial(), forged.corresponding(pod, mesh.server, 8080) as application:
        assert application.fate.direct
        error = forge.icmp_error(mesh.client.address, application.datagram, kind, code)
        forged.inject(mesh.client, error)
        application.expect_error("a hop limit exceeded", kind, code)


@section.check("SAN-002", "19.1")
def test_tap_sees_both_directions(mesh: Mesh, taps: Taps) -> None:
    """The packet capture MUST see a flow's packets in both directions."""
    pod = mesh.bare_pod()

    with instruments_on_trial(), taps.of(pod) as tap:
        for here, there in ((pod, mesh.server), (mesh.client, pod)):
            fate = here.connect(there, 8080)
            opened = [packet for packet in tap.packets() if packet.opens]
            ends = [(packet.source, packet.destination) for packet in opened]
            assert ends == [(fate.client, fate.flow.destination)], f"the tap saw {ends} of {fate}"
        pod.datagram(mesh.server, 5353)
        pod.ping(mesh.server)
        protocols = {packet.protocol for packet in tap.packets()}
        assert protocols >= {Protocol.UDP, Protocol.ICMP}, (
            f"the tap saw no UDP or ICMP, only {protocols}"
        )


@section.check("SAN-006", "19.1")
def test_pod_receives_what_is_put_on_its_link(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A packet that is put on the pod's link MUST be received by the pod."""
    pod = mesh.bare_pod()
    client, closed = Address(forged.silent_address(), 20019), Address(pod.address, 20019)

    with instruments_on_trial(), taps.of(pod) as tap:
        forged.deliver(tap, forge.tcp(client, closed, forge.SYN, seq=1))
        refusal = tap.expect("the pod's refusal", lambda packet: packet.goes(closed, client))
        assert refusal.ends


@section.check("SAN-003", "19.1", needs={Need.ANSWERING_SIDECAR})
def test_sidecar_listeners_count_each_connection_once(mesh: Mesh) -> None:
    """Each connection to a listener of the sidecar MUST count exactly once, at that listener."""
    pod = mesh.bare_pod()
    listeners = {
        15000: Acceptor.ADMIN,
        15001: Acceptor.SIDECAR_OUTBOUND,
        15003: Acceptor.SIDECAR_INBOUND,
        15010: Acceptor.METRICS,
        15901: Acceptor.LIVENESS,
        15902: Acceptor.READINESS,
        15903: Acceptor.STARTUP,
        15904: Acceptor.HEALTH,
    }

    with instruments_on_trial():
        for port, listener in listeners.items():
            counted = len(pod.acceptances())
            assert pod.connect(mesh.loopback(), port).reached(listener)
            more = pod.acceptances()[counted:]
            assert len(more) == 1, f"one flow to port {port} has {len(more)} records"
            if listener is not Acceptor.ADMIN:
                assert mesh.client.connect(pod, port).reached(listener)


@section.check("SAN-004", "19.1")
def test_kernel_confirms_socket_owners(mesh: Mesh, programs: ForeignPrograms) -> None:
    """The kernel MUST confirm the owner of each socket that a check sends from."""
    pod = mesh.bare_pod()
    rules = [(f"--uid-owner {uid}", LISTENER_OF_UID + uid) for uid in OWNERS]
    rules.insert(0, (f"--uid-owner 1000 --gid-owner {MARKED_GROUP}", LISTENER_OF_GROUP))
    lines = [f"-A OUTPUT -p tcp -m owner {who} -j REDIRECT --to-ports {to}" for who, to in rules]
    program = "iptables-restore" if mesh.family == 4 else "ip6tables-restore"

    with instruments_on_trial():
        done = programs.run(pod, [program, "--noflush"], "\n".join(["*nat", *lines, "COMMIT", ""]))
        assert done.status == 0, done.stderr
        for _, port in rules:
            pod.listen(port)
        for uid in OWNERS:
            arrived = pod.connect(mesh.server, 8080, uid=uid).path[0].local
            wanted = Address(mesh.loopback(), LISTENER_OF_UID + uid)
            assert arrived == wanted, f"uid {uid} arrived at {arrived}, not at {wanted}"
        by_group = pod.connect(mesh.server, 8080, uid=1000, gid=MARKED_GROUP).path[0].local
        wanted = Address(mesh.loopback(), LISTENER_OF_GROUP)
        assert by_group == wanted, f"gid {MARKED_GROUP} arrived at {by_group}, not at {wanted}"
        assert pod.connect(mesh.server, 8080, uid=1001).direct
