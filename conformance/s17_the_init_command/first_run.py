"""The first run of the init command, and what it leaves behind."""

from __future__ import annotations

from pytest_fsmredir import (
    Address,
    Feature,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Need,
    Pod,
    Profile,
    Programmer,
    Section,
    Taps,
    forge,
)
from pytest_fsmredir.model.vocabulary import EXCLUDED_OUTBOUND_PORTS, SEED_OUTBOUND_PORTS

section = Section(17, Profile.LIFECYCLE, families=(4,))

NET_ADMIN, NET_RAW = 12, 13  # linux/capability.h
STRANGERS = b"not for the pod"
SETTINGS_AND_ROUTES = """\
cd /proc/sys/net && grep -s . ipv[46]/* ipv[46]/conf/all/* ipv[46]/conf/eth0/*
for family in -4 -6; do printf 'rule\\nroute show table all\\n' | ip $family -batch -; done
"""


def surroundings(pod: Pod, programs: ForeignPrograms) -> set[str]:
    """Return the pod's kernel settings, routing rules and routes, one a line.

    Routes of link-local addresses are left out: the kernel adds them by itself, once it knows that
    no neighbour has such an address.

    Raises:
        OSError: They cannot be read.
    """
    done = programs.run(pod, ["/bin/sh", "-c", SETTINGS_AND_ROUTES])
    if done.status != 0:
        raise OSError(done.stderr)
    return {line for line in done.stdout.splitlines() if "fe80:" not in line}


@section.check("INIT-001", "17.1", families=(4, 6))
def test_capture_holds_at_once(mesh: Mesh, programmer: Programmer) -> None:
    """Once the init command has exited 0, the very next connection in either direction MUST be
    captured."""
    pod = mesh.bare_pod()

    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct
    programmer.program(pod)
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("INIT-004", "17.4", features={Feature.OUTBOUND_PORT_EXCLUSION})
def test_unusable_configuration_is_refused(mesh: Mesh) -> None:
    """An init command MUST exit non-zero for a configuration that it cannot honour."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.try_pod(annotations={EXCLUDED_OUTBOUND_PORTS: "6379,70000"}).refused


@section.check("INIT-006", "17.6", needs={Need.BOTH_VARIANTS})
def test_rules_of_the_other_variant_do_no_harm(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Where the other variant of iptables already holds rules, the redirection SHOULD work or its
    programming fail."""
    pod = mesh.bare_pod()
    other = "legacy" if mesh.iptables == "nft" else "nft"
    added = programs.run(
        pod, [f"iptables-{other}", "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "RETURN"]
    )
    if added.status != 0:
        raise RuntimeError(added.stderr)

    if programmer.try_program(pod).accepted:
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("INIT-008", "17.4")
def test_missing_capability_is_refused(mesh: Mesh, programmer: Programmer) -> None:
    """An init command without the capability NET_ADMIN MUST exit non-zero."""
    pod = mesh.bare_pod()

    assert programmer.try_program(pod, capabilities=frozenset({NET_RAW})).refused
    assert mesh.pod().connect(mesh.server, 8080).captured_outbound


@section.check("INIT-009", "17.8")
def test_only_the_pod_itself_changes(mesh: Mesh, programmer: Programmer) -> None:
    """Programming a pod MUST NOT change what happens to flows outside it."""
    bystander, pod = mesh.bare_pod(), mesh.bare_pod()
    programmer.program(pod)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert bystander.connect(mesh.server, 8080).direct
    assert mesh.client.connect(bystander, 8080).direct
    assert mesh.client.connect(mesh.server, 8080).direct


@section.check("INIT-010", "17.9")
def test_network_capabilities_are_enough(mesh: Mesh, programmer: Programmer) -> None:
    """The init command SHOULD need no capability but NET_ADMIN and NET_RAW."""
    pod = mesh.bare_pod()

    programming = programmer.try_program(pod, capabilities=frozenset({NET_ADMIN, NET_RAW}))
    assert programming.programmed
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _keeps_strangers_out(mesh: Mesh, taps: Taps, forged: ForgedPackets, pod: Pod) -> bool:
    """Send a stranger's datagram and then a SYN; return whether only the SYN has an effect."""
    client, remote = Address(forged.silent_address(), 20039), Address(mesh.server.address, 8080)
    own = Address(pod.address, 20031)
    with taps.of(pod) as tap:
        forged.deliver(tap, forge.udp(client, remote, STRANGERS))
        forged.deliver(tap, forge.tcp(client, own, forge.SYN, seq=1))
        first = tap.expect("an answer", lambda packet: packet.destination in (client, remote))
        forged.deliver(tap, forge.tcp(client, own, forge.RST, seq=2))
    return first.source == own


@section.check("INIT-017", "17.13", families=(4, 6))
def test_pod_forwards_no_packets_of_others(
    mesh: Mesh, programmer: Programmer, taps: Taps, forged: ForgedPackets
) -> None:
    """Programming a pod SHOULD NOT make it forward packets of others."""
    pod = mesh.bare_pod()

    assert _keeps_strangers_out(mesh, taps, forged, pod), "it forwards before it is programmed"
    programmer.program(pod)
    assert _keeps_strangers_out(mesh, taps, forged, pod), "the pod forwarded a datagram"


@section.check("INIT-018", "17.14")
def test_settings_and_routes_stay_as_they_were(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Programming a pod MAY change its kernel settings and its routes."""
    pod = mesh.bare_pod()
    before = surroundings(pod, programs)
    programmer.program(pod)
    after = surroundings(pod, programs)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert before == after, f"gone: {sorted(before - after)}; new: {sorted(after - before)}"
