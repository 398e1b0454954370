"""Who is exempt and who is not, port by port, address by address, mark by mark."""

from __future__ import annotations

import socket
from functools import partial

from pytest_fsmredir import (
    Mesh,
    Need,
    Profile,
    Route,
    Section,
    listening_sweep,
    marked,
    ports_to_judge,
    remote_hosts,
    with_number,
)
from pytest_fsmredir.model.vocabulary import (
    HIGH_REMOTE_PORTS,
    MARKS,
    NEAR_POWERS_OF_TWO,
    OFTEN_SPARED_PORTS,
    RANDOM_PORTS,
    REMOTE_PORTS,
    RESERVED_PORTS,
)

section = Section(4, Profile.CORE)

PRIORITIES = (1, 2, 4, 6, 7, 8, 15, 0x10001, 0xFFFFFFFF)


@section.check("UID-015", "4.1")
def test_sidecar_reaches_every_remote_port_directly(mesh: Mesh) -> None:
    """A connection of UID 1500 MUST be direct on every destination port."""
    pod, server = mesh.pod(), mesh.server
    sample = {
        *REMOTE_PORTS,
        *HIGH_REMOTE_PORTS,
        *OFTEN_SPARED_PORTS,
        *RESERVED_PORTS,
        *NEAR_POWERS_OF_TWO,
        *RANDOM_PORTS[:20],
    }
    ports = ports_to_judge(mesh, pod, Route.DIRECT, server, sample, uid=1500)

    assert pod.connect(server, 8080, answer=False).captured_outbound
    for fate in listening_sweep(pod, server, server.address, ports, uid=1500):
        assert fate.direct


@section.check("UID-016", "4.1", needs={Need.PRIVATE_ADDRESSES, Need.REMOTE_ADDRESSES})
def test_sidecar_reaches_every_remote_range_directly(mesh: Mesh) -> None:
    """A connection of UID 1500 MUST be direct to private, link-local and public destinations
    alike."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 443).captured_outbound
    for address in remote_hosts(mesh):
        assert pod.connect(address, 443, uid=1500).direct


@section.check("UID-013", "4.8", needs={Need.KERNEL_SETTINGS})
def test_mark_does_not_exempt_an_application(mesh: Mesh) -> None:
    """A connection of the application MUST NOT be direct for a mark of its packets."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=1500).direct
    assert pod.connect(mesh.server, 8080).captured_outbound
    for mark in MARKS:
        assert pod.connect(mesh.server, 8080, prepare=marked(mark)).never_direct


@section.check("UID-014", "4.8", needs={Need.KERNEL_SETTINGS})
def test_priority_does_not_exempt_an_application(mesh: Mesh) -> None:
    """A connection of the application MUST NOT be direct for a priority of its packets."""
    pod = mesh.pod()

    for priority in PRIORITIES:
        urgent = partial(with_number, socket.SO_PRIORITY, priority)
        assert pod.connect(mesh.server, 8080, prepare=urgent).captured_outbound
        assert pod.connect(mesh.server, 8080, prepare=urgent, uid=1500).direct
