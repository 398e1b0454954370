"""IPv6 link-local addresses: the pod's own, and that of its gateway."""

from __future__ import annotations

import json
from typing import NamedTuple

from pytest_fsmredir import (
    Address,
    Direction,
    Fate,
    Feature,
    Flow,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    Pod,
    Profile,
    Section,
    Taps,
    forge,
)

section = Section(14, Profile.IPV6, {Feature.IPV6}, families=(6,))

LINK = "eth0"
ASK = f"ip -json -6 address show dev {LINK} scope link; ip -json -6 route show default dev {LINK}"
CLOSED = 20026  # a port on which nothing listens, in the pod or outside


class LinkEnds(NamedTuple):
    """The link-local addresses of a pod and of its gateway."""

    pod: str
    gateway: str


def ends_of(pod: Pod, programs: ForeignPrograms) -> LinkEnds:
    """Return the link-local addresses at both ends of the pod's link."""
    done = programs.run(pod, ["/bin/sh", "-c", ASK])
    (link,), (route, *_) = map(json.loads, done.stdout.splitlines())
    own = next(each["local"] for each in link["addr_info"] if each)
    return LinkEnds(own, route["gateway"])


@section.check("V6-007", "14.1")
def test_outbound_link_local_does_not_leak(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, programs: ForeignPrograms
) -> None:
    """A connection of the application to a link-local address SHOULD NOT leave the pod uncaptured,
    and one of UID 1500 SHOULD leave it."""
    pod = mesh.pod()
    ends = ends_of(pod, programs)
    gateway = Address(ends.gateway, CLOSED)
    # A client of a link-local address is bound to an interface, so REDIRECT cannot take it to the
    # sidecar: its SYN leaves with the loopback address as destination, which no host accepts.
    application = forge.tcp(Address(ends.pod, 20027), gateway, forge.SYN, seq=1)
    sidecar = forge.tcp(Address(ends.pod, 20028), gateway, forge.SYN, seq=1)

    with taps.of(pod) as tap:
        forged.inject(pod, application, interface=LINK)
        forged.inject(pod, sidecar, uid=1500, interface=LINK)
        left = tap.expect("the sidecar's SYN", lambda packet: packet.destination == gateway)
        assert left.matches(sidecar), f"the application's SYN to {gateway} left the pod"


@section.check("V6-008", "14.1")
def test_inbound_link_local_is_captured(
    mesh: Mesh, taps: Taps, forged: ForgedPackets, programs: ForeignPrograms
) -> None:
    """A connection from a link-local address, to one or to a global one of the pod, SHOULD be
    captured."""
    pod = mesh.pod()
    ends = ends_of(pod, programs)
    client = Address(ends.gateway, 20029)

    with taps.of(pod) as tap:
        for host in (ends.pod, pod.address):
            closed = Address(host, CLOSED)
            forged.deliver(tap, forge.tcp(client, closed, forge.SYN, seq=1))
            answer = tap.expect("an answer", lambda packet: packet.destination == client)
            fate = Fate(Flow(Direction.INBOUND, closed), client, (), "refused")
            assert not answer.ends or fate.captured_inbound
