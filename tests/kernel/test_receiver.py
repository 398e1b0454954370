"""The receiver returns packets with the header that they had on the pod's link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.backends.facets import ForgedPackets, Taps
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic import forge, protocols
from tests.mutants.judge import new_backend

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

HEADER: forge.IpFields = {
    "hops": 9, "service": 0xB9, "whole": True, "identification": 77, "label": 0x12345,
}  # fmt: skip


@pytest.fixture(params=[4, 6])
def mesh(request: pytest.FixtureRequest) -> Iterator[NetnsMesh]:
    with (
        closing(new_backend(Reference(), timeout_s=0.5)) as backend,
        closing(backend.mesh(request.param, IptablesVariant.NFT, exhaustive=False)) as mesh,
    ):
        yield mesh


def test_datagram_arrives_with_its_header(mesh: NetnsMesh) -> None:
    """Catches: a header is rebuilt wrongly, so that correct rules seem to change it."""
    pod = mesh.bare_pod()
    packet = forge.udp(Address(mesh.client.address, 7), Address(pod.address, 8080), b"x", **HEADER)

    taps, forged = mesh.facet(Taps), mesh.facet(ForgedPackets)
    with taps.of(pod) as tap, forged.receiving(pod, [17]) as received:
        forged.deliver(tap, packet)
        received.expect_unchanged("the datagram", packet)


def test_extension_header_is_kept(mesh: NetnsMesh) -> None:
    """Catches: a multicast message seems to have lost its options."""
    pod = mesh.bare_pod()
    messages = protocols.igmp_messages if mesh.family == 4 else protocols.neighbour_messages
    packets = messages(mesh.client.address)
    groups = {packet.destination.host for _, packet in packets}

    taps, forged = mesh.facet(Taps), mesh.facet(ForgedPackets)
    numbers = {2 if mesh.family == 4 else 58}
    with taps.of(pod) as tap, forged.receiving(pod, numbers, groups) as received:
        for name, packet in packets:
            forged.deliver(tap, packet)
            received.expect_unchanged(name, packet)


def test_packet_that_does_not_come_is_a_violation(mesh: NetnsMesh) -> None:
    """Catches: a lost packet counts as received."""
    pod = mesh.bare_pod()
    packet = forge.udp(Address(mesh.client.address, 7), Address(pod.address, 8080), b"x")

    forged = mesh.facet(ForgedPackets)
    with forged.receiving(pod, [17]) as received, pytest.raises(Unmet, match="the datagram in the"):
        received.expect_unchanged("the datagram", packet)
