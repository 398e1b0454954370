"""The user id that FSM reserves for the sidecar."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from pytest_fsmredir import (
    SIDECAR_UID,
    Acceptor,
    Feature,
    Mesh,
    Pod,
    Profile,
    Route,
    Section,
    Sidecars,
    range_of,
)
from pytest_fsmredir.model.vocabulary import EXCLUDED_RANGES, INCLUDED_RANGES

section = Section(4, Profile.CORE)

# Neighbours and prefixes of 1500, users of distributions and base images, those of Istio, Linkerd
# and Kuma, 1500 beyond 16 bits, and those of user namespaces and of OpenShift; all are groups, too.
IDS = (
    1, 2, 15, 33, 101, 150, 999, 1001, 1002, 1337, 1400, 1499, 1501, 1502, 1600, 2000, 2102, 5678,
    10001, 65532, 65533, 65534, 65535, 65536, 67036, 100000, 1000660000, 4294967294,
)  # fmt: skip
SOME_IDS = random.Random(1500).sample(range(1 << 16), 8)  # noqa: S311 - no secret


def hand_over(sock: socket.socket) -> None:
    """Give the socket to the application's user, who did not make it."""
    os.fchown(sock.fileno(), 1000, -1)


def _odd(mesh: Mesh, pod: Pod, owners: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the users and groups whose first packet was not seen to be captured."""
    known = sorted(owner for owner in owners if max(owner) <= mesh.highest_id)
    return pod.owners_not_taking(Route.SIDECAR_OUTBOUND, mesh.server, 8080, known)


@section.check("UID-001", "4.1")
def test_sidecar_reaches_remote_addresses_directly(mesh: Mesh) -> None:
    """A connection of UID 1500 to a remote address MUST be direct."""
    pod = mesh.pod()

    for port in (80, 443, 8080, 15001, 15003):
        assert pod.connect(mesh.server, port, uid=1500).direct
        assert pod.connect(mesh.server, port, uid=1000).captured_outbound


@section.check(
    "UID-003",
    "4.1",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_lists_do_not_touch_the_sidecars_exemption(mesh: Mesh) -> None:
    """The exemption of UID 1500 MUST hold for excluded and for included destinations alike."""
    server = range_of(mesh.server)
    excluding = mesh.pod(annotations={EXCLUDED_RANGES: server})
    including = mesh.pod(annotations={INCLUDED_RANGES: server})

    assert excluding.connect(mesh.client, 8080).captured_outbound
    assert including.connect(mesh.server, 8080).captured_outbound
    for pod in (excluding, including):
        for host in (mesh.server, mesh.client):
            assert pod.connect(host, 8080, uid=1500).direct


@section.check("UID-004", "4.3")
def test_root_is_captured(mesh: Mesh) -> None:
    """A connection of UID 0 MUST be captured."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=0).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct


@section.check("UID-005", "4.3")
def test_other_uids_are_captured(mesh: Mesh) -> None:
    """A connection of any other UID MUST be captured: near 1500, of a system's service, reserved
    by another mesh, or too great for 16 bits."""
    pod, uids = mesh.pod(), {*IDS, *SOME_IDS}
    if mesh.exhaustive:
        others = {*range(4096), *range(4096, 1 << 16, 61)} - uids - {1500}
        uids |= {uid for uid, _ in _odd(mesh, pod, [(uid, 0) for uid in others])}

    assert pod.connect(mesh.server, 8080, uid=1500).direct
    for uid in sorted(uids - {1500}):
        if uid <= mesh.highest_id:
            assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound


@section.check("UID-006", "4.3")
def test_group_makes_no_difference(mesh: Mesh) -> None:
    """The UID alone MUST decide: no GID exempts an application, and no GID takes the exemption
    from UID 1500."""
    pod, gids = mesh.pod(), {*IDS, *SOME_IDS, 0, 1000, 1500}
    if mesh.exhaustive:
        gids |= {gid for _, gid in _odd(mesh, pod, [(1000, gid) for gid in range(4096)])}

    for uid in (0, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid, gid=1500).captured_outbound
    for gid in sorted(gid for gid in gids if gid <= mesh.highest_id):
        assert pod.connect(mesh.server, 8080, uid=1000, gid=gid).captured_outbound
    for gid in (0, 101, 1000, 1500, 65534):
        assert pod.connect(mesh.server, 8080, uid=1500, gid=gid).direct


@section.check("UID-007", "4.7")
def test_application_under_the_sidecars_uid_is_captured(mesh: Mesh) -> None:
    """An application that runs as UID 1500 MAY bypass the sidecar."""
    assert mesh.pod().connect(mesh.server, 8080, uid=1500, gid=1000).captured_outbound


@section.check("UID-008", "4.6")
def test_maker_of_the_socket_decides(mesh: Mesh, sidecars: Sidecars) -> None:
    """The UID under which a socket was made SHOULD decide, and not that of the process that
    connects it."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for maker in (0, 1000):
            fate = pod.connect(mesh.server, 8080, uid=maker)
            assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)
        assert pod.connect(mesh.server, 8080, uid=1500).direct


@section.check("UID-009", "4.7")
def test_socket_handed_over_by_the_sidecar_is_captured(mesh: Mesh) -> None:
    """A socket that UID 1500 made and handed to another user MAY bypass the sidecar."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500, prepare=hand_over).captured_outbound


@section.check("UID-011", "4.4")
def test_server_under_the_sidecars_uid_is_captured(mesh: Mesh) -> None:
    """A connection from outside to a server that runs as UID 1500 MUST be captured."""
    pod = mesh.pod()
    pod.listen(8111, uid=1500)

    assert pod.connect(mesh.server, 8111, uid=1500).direct
    for place in (mesh.client, mesh.server, mesh.node):
        assert place.connect(pod, 8111).captured_inbound


@section.check(
    "OII-005", "4.1", profile=Profile.INCLUSIONS, features={Feature.OUTBOUND_IP_RANGE_INCLUSION}
)
def test_sidecar_is_direct_to_included_addresses(mesh: Mesh) -> None:
    """UID 1500 MUST be direct under an inclusion list, to an included address as to any other."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.server, 8080).captured_outbound
    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct


@section.check("OUT-013", "4.3")
def test_connections_of_several_users_are_captured_together(mesh: Mesh) -> None:
    """Simultaneous connections of several users to one destination MUST all be captured."""
    pod = mesh.pod()

    with ExitStack() as held:
        for uid in (0, 1000, 1001, 1337, 1499, 1501):
            connection = held.enter_context(pod.open(mesh.server, 8080, uid=uid))
            assert connection.fate_by_banner.captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
