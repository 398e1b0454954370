"""Protocols other than TCP, UDP and ICMP, and the IP headers of all of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence

from pytest_fsmredir import (
    Address,
    ForgedPackets,
    Mesh,
    Packet,
    Pod,
    Profile,
    Section,
    Taps,
    forge,
    protocols,
)

section = Section(5, Profile.CORE)

Named = Sequence[tuple[str, Packet]]
SOMEWHERE = ("198.51.100.10", "2001:db8:5::10")
SENDERS = (1000, 0, 1500)
# Hop limits: the least, one past a router, those of common systems, the most.
HOPS = (1, 2, 32, 64, 128, 254, 255, 7)
CHOICES = 64
AT_ONCE = 32  # packets that are sent before they are looked for
# Protocols whose datagrams come from a fixed port: DNS, DHCP, TFTP, NTP, NetBIOS, SNMP, IKE, RIP,
# DHCPv6, SSDP, PTP, IKE through NAT, mDNS, LLMNR, WireGuard; and the numbers that FSM reserves.
FIXED_PORTS = (
    53, 67, 68, 69, 123, 137, 138, 161, 162, 319, 500, 514, 520, 521, 546, 547, 1900, 4500, 5353,
    5355, 51820, 1, 65535, 15000, 15001, 15003, 15010, 15901, 15904,
)  # fmt: skip
TO_EVERYBODY = {4: ("255.255.255.255", "224.0.0.1", "224.0.0.251"), 6: ("ff02::1", "ff02::fb")}


def _assert_live(mesh: Mesh, pod: Pod) -> None:
    """Check that TCP is captured in both directions."""
    assert pod.connect(mesh.client, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


def _send_out(pod: Pod, taps: Taps, forged: ForgedPackets, packets: Named) -> None:
    """Send packets out of the pod, as several users, and see each of them leave unchanged."""
    with taps.of(pod) as tap:
        for batch in _batches(packets):
            for n, (_, packet) in enumerate(batch):
                forged.inject(pod, packet, uid=SENDERS[n % len(SENDERS)])
            tap.expect_all_unchanged(batch)


def _send_in(pod: Pod, taps: Taps, forged: ForgedPackets, packets: Named) -> None:
    """Send packets into the pod, and see the pod's kernel receive each of them unchanged."""
    numbers = {packet.number for _, packet in packets}
    groups = {packet.destination.host for _, packet in packets if packet.is_multicast}
    with taps.of(pod) as tap, forged.receiving(pod, numbers, groups) as received:
        for batch in _batches(packets):
            for _, packet in batch:
                forged.deliver(tap, packet)
            received.expect_all_unchanged(batch)


def _batches(packets: Named) -> Iterator[Named]:
    """Yield packets in batches that the buffers of sockets hold."""
    for first in range(0, len(packets), AT_ONCE):
        yield packets[first : first + AT_ONCE]


def _echo(source: str, destination: str, n: int) -> tuple[str, Packet]:
    kind = 8 if ":" not in source else 128
    message = forge.icmp(source, destination, kind, 0, struct.pack("!HH", 26, n), **_fields(n))
    return f"the ICMP echo request {n}", message


def _datagram(source: Address, destination: Address, n: int) -> tuple[str, Packet]:
    return f"the datagram {n}", forge.udp(source, destination, b"%d" % n, **_fields(n))


def _from_port(source: str, destination: str, port: int) -> tuple[str, Packet]:
    datagram = forge.udp(Address(source, port), Address(destination, port ^ 1), b"from a port")
    return f"the datagram to {destination} from port {port}", datagram


def _sample_of_ports(step: int) -> list[int]:
    """Return a port of each group of so many, always the same one."""
    choose = random.Random(2026)  # noqa: S311 - to be spread, not to be secret
    return [choose.randrange(low, min(low + step, 1 << 16)) for low in range(1, 1 << 16, step)]


def _to_port(source: str, destination: str, port: int) -> tuple[str, Packet]:
    datagram = forge.udp(Address(source, 20020), Address(destination, port), b"to any port")
    return f"the datagram to {destination}, port {port}", datagram


def _fields(n: int) -> forge.IpFields:
    """Return the n-th choice of what a header says; each DSCP is in one, each ECN in several."""
    return {
        "hops": HOPS[n % len(HOPS)],
        "service": n << 2 | n % 4,
        "whole": n % 3 == 0,
        "identification": 1 + n * 509,
        "label": n * 16127,
    }


@section.check("PROTO-008", "5.4")
def test_other_protocols_are_left_alone(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A packet of another protocol, such as SCTP, DCCP, GRE, ESP or AH, SHOULD leave and enter the
    pod untouched, with the header that it was sent with."""
    pod, every = mesh.pod(), mesh.exhaustive
    here, there = Address(pod.address, 20010), Address(mesh.client.address, 8080)
    # Outbound only: connection tracking sums up UDP-Lite that comes in as if it were UDP (see
    # udplite_error in the kernel), so it calls every such packet INVALID, and those may be dropped.
    lite = ("UDP-Lite", forge.udp(here, there, b"lite", protocol=forge.UDP_LITE))

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, [*protocols.other_protocols(here, there, every=every), lite])
    _send_in(pod, taps, forged, protocols.other_protocols(there, here, every=every))


@section.check("PROTO-020", "5.2")
def test_udp_is_left_alone_on_every_port(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A UDP datagram MUST leave and enter the pod untouched whatever port it goes to, seen in a
    sample of all ports."""
    pod, sample = mesh.pod(), _sample_of_ports(1311)
    ports = _sample_of_ports(16) if mesh.exhaustive else sample
    here, there = pod.address, mesh.client.address

    _assert_live(mesh, pod)
    for port in sample:
        assert mesh.client.datagram(pod, port).direct
    _send_out(pod, taps, forged, [_to_port(here, there, port) for port in ports])
    _send_in(pod, taps, forged, [_to_port(there, here, port) for port in ports])


@section.check("PROTO-023", "5.3")
def test_every_icmp_query_is_left_alone(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """Each ICMP request and each ICMP reply MUST leave and enter the pod untouched, with the
    header that it was sent with."""
    pod = mesh.pod()
    here, there = pod.address, mesh.client.address
    asked = protocols.icmp_queries(here, there)
    asking = protocols.icmp_queries(there, here)

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, [(f"{query.name} request", query.request) for query in asked])
    _send_in(pod, taps, forged, [(f"{query.name} reply", query.reply) for query in asked])
    _send_in(pod, taps, forged, [(f"{query.name} request", query.request) for query in asking])
    _send_out(pod, taps, forged, [(f"{query.name} reply", query.reply) for query in asking])


@section.check("PROTO-024", "5.3", profile=Profile.IPV6, families=(6,))
def test_neighbour_and_listener_discovery_are_left_alone(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A message of neighbour discovery or of listener discovery MUST leave and enter the pod
    untouched, with the header that it was sent with."""
    pod = mesh.pod()

    fates = [pod.connect(address, 8080, answer=False) for address in SOMEWHERE]
    assert any(fate.captured_outbound for fate in fates), f"nothing is captured: {fates}"
    _send_out(pod, taps, forged, protocols.neighbour_messages(pod.address))
    _send_in(pod, taps, forged, protocols.neighbour_messages(mesh.client.address))


@section.check("PROTO-025", "5.4", families=(4,))
def test_igmp_is_left_alone(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A message of IGMP SHOULD leave and enter the pod untouched, with the header that it was sent
    with."""
    pod = mesh.pod()

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, protocols.igmp_messages(pod.address))
    _send_in(pod, taps, forged, protocols.igmp_messages(mesh.client.address))


@section.check("PROTO-026", "5.7")
def test_icmp_keeps_its_header(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """An ICMP message MUST keep every field of its IP header, out of the pod and into it, whatever
    these fields say."""
    pod = mesh.pod()
    choices = range(0, CHOICES, 1 if mesh.exhaustive else 9)
    here, there = pod.address, mesh.client.address

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, [_echo(here, there, n) for n in choices])
    _send_in(pod, taps, forged, [_echo(there, here, n) for n in choices])


@section.check("PROTO-027", "5.7")
def test_udp_keeps_its_header(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A UDP datagram MUST keep every field of its IP header, out of the pod and into it, whatever
    these fields say."""
    pod = mesh.pod()
    here, there = Address(pod.address, 20027), Address(mesh.client.address, 8080)

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, [_datagram(here, there, n) for n in range(CHOICES)])
    _send_in(pod, taps, forged, [_datagram(there, here, n) for n in range(CHOICES)])


@section.check("PROTO-028", "5.2")
def test_udp_is_left_alone_from_every_port(mesh: Mesh, taps: Taps, forged: ForgedPackets) -> None:
    """A UDP datagram MUST leave and enter the pod untouched whatever port it comes from, those of
    DHCP, mDNS and other protocols with a fixed source port included."""
    pod = mesh.pod()
    ports = range(1, 1 << 16, 16) if mesh.exhaustive else FIXED_PORTS
    here, there = pod.address, mesh.client.address

    _assert_live(mesh, pod)
    _send_out(pod, taps, forged, [_from_port(here, there, port) for port in ports])
    _send_in(pod, taps, forged, [_from_port(there, here, port) for port in ports])


@section.check("PROTO-029", "5.4")
def test_multicast_and_broadcast_enter_the_pod(
    mesh: Mesh, taps: Taps, forged: ForgedPackets
) -> None:
    """A multicast or broadcast datagram SHOULD enter the pod untouched, with the header that it
    was sent with."""
    pod, source = mesh.pod(), mesh.client.address

    assert mesh.client.connect(pod, 5353).captured_inbound
    _send_in(
        pod,
        taps,
        forged,
        [
            _from_port(source, group, port)
            for group in TO_EVERYBODY[mesh.family]
            for port in (5353, 67, 547, 15001, 20029)
        ],
    )
