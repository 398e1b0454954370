"""What programming a pod leaves behind in addition to the redirection: ways in, forwarding."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fsmredir import (
    INFO,
    MUST,
    SHOULD,
    Address,
    Feature,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Pod,
    Profile,
    Programmer,
    Taps,
    check,
    forge,
)

CLOSED = 20031  # a port of the pod on which nothing listens
FIRST_PORT = 20041  # of the clients
SERVED = (15010, 15901, 15902, 15903, 15904)
SEED_EXAMPLE = {
    "flomesh.io/outbound-port-exclusion-list": "6379,7070",
    "flomesh.io/inbound-port-exclusion-list": "6379,7070",
}
STRANGERS = b"not for the pod"
SETTINGS_AND_ROUTES = """\
cd /proc/sys/net && grep -s . ipv[46]/* ipv[46]/conf/all/* ipv[46]/conf/eth0/*
for family in -4 -6; do printf 'rule\\nroute show table all\\n' | ip $family -batch -; done
"""


def surroundings(pod: Pod, programs: ForeignPrograms) -> set[str]:
    """Return the pod's kernel settings, routing rules and routes, one a line.

    Raises:
        OSError: They cannot be read.
    """
    done = programs.run(pod, ["/bin/sh", "-c", SETTINGS_AND_ROUTES])
    if done.status != 0:
        raise OSError(done.stderr)
    return set(done.stdout.splitlines())


def assert_silent(pod: Pod, taps: Taps, forged: ForgedPackets, local: Sequence[Address]) -> None:
    """Send SYNs from outside to addresses of 127.0.0.0/8, then one that the sidecar answers."""
    host, own = forged.silent_address(), Address(pod.address, CLOSED)
    with taps.of(pod) as tap:
        for number, destination in enumerate((*local, own)):
            source = Address(host, FIRST_PORT + number)
            forged.deliver(tap, forge.tcp(source, destination, forge.SYN, seq=1))
        answer = tap.expect("an answer", lambda packet: packet.destination.host == host)
        forged.deliver(tap, forge.tcp(source, own, forge.RST, seq=2))
        assert answer.source == own, f"{answer.source} answered a SYN from outside"


@check(
    "LO-020",
    requirement="A connection from outside to 127.0.0.0/8 MUST NOT reach a reserved port that"
    " answers for itself, or any port past the sidecar.",
    spec="SPEC-7.7",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_loopback_is_closed_to_the_outside(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    pod = mesh.pod()
    closed, client = Address("127.0.0.1", CLOSED), Address(forged.silent_address(), FIRST_PORT - 1)
    own = Address(pod.address, CLOSED)

    assert_silent(pod, taps, forged, [Address("127.0.0.1", port) for port in SERVED])
    assert_silent(
        pod, taps, forged, [Address(host, 15904) for host in ("127.0.0.2", "127.255.255.254")]
    )
    with taps.of(pod) as tap:
        for destination in (closed, own):
            forged.deliver(tap, forge.tcp(client, destination, forge.SYN, seq=1))
        answer = tap.expect("an answer", lambda packet: packet.destination == client)
        for destination in (closed, own):
            forged.deliver(tap, forge.tcp(client, destination, forge.RST, seq=2))
        assert not answer.ends, f"{answer.source} refused a SYN from outside"


@check(
    "LO-021",
    requirement="A connection from outside to 127.0.0.0/8 MUST NOT reach an application on an"
    " excluded inbound port.",
    spec="SPEC-7.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
    families=(4,),
)
def test_excluded_port_on_loopback_is_closed_to_the_outside(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    pod = mesh.pod(annotations=SEED_EXAMPLE)
    pod.listen(7070, host="127.0.0.1")

    assert mesh.client.connect(pod, 6379).direct
    assert_silent(pod, taps, forged, [Address("127.0.0.1", port) for port in (6379, 7070)])


@check(
    "INIT-017",
    requirement="Programming a pod SHOULD NOT make it forward packets of others.",
    spec="SPEC-17.13",
    level=SHOULD,
    profile=Profile.LIFECYCLE,
)
def test_pod_forwards_no_packets_of_others(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    pod, client = mesh.pod(), Address(forged.silent_address(), 20039)
    remote, own = Address(mesh.server.address, 8080), Address(pod.address, CLOSED)

    with taps.of(pod) as tap:
        forged.deliver(tap, forge.udp(client, remote, STRANGERS))
        forged.deliver(tap, forge.tcp(client, own, forge.SYN, seq=1))
        first = tap.expect("an answer", lambda packet: packet.destination in (client, remote))
        forged.deliver(tap, forge.tcp(client, own, forge.RST, seq=2))
        assert first.source == own, f"the pod forwarded a datagram to {remote}"


@check(
    "INIT-018",
    requirement="Programming a pod MAY change its kernel settings and its routes.",
    spec="SPEC-17.14",
    level=INFO,
    profile=Profile.LIFECYCLE,
    families=(4,),
)
def test_settings_and_routes_stay_as_they_were(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    pod = mesh.bare_pod()
    before = surroundings(pod, programs)
    programmer.program(pod)
    after = surroundings(pod, programs)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert before == after, f"gone: {sorted(before - after)}; new: {sorted(after - before)}"
