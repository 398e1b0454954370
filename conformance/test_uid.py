"""The user id that FSM reserves for the sidecar."""

from __future__ import annotations

import os
import random
import socket
from ipaddress import ip_network

from pytest_fsmredir import INFO, MUST, SHOULD, Acceptor, Feature, Mesh, Profile, Sidecars, check

OUTBOUND_IP_RANGE_EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
OUTBOUND_IP_RANGE_INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"

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


@check(
    "UID-001",
    requirement="A connection of UID 1500 to a remote address MUST be direct.",
    spec="SPEC-4.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_reaches_remote_addresses_directly(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in (80, 443, 8080, 15001, 15003):
        assert pod.connect(mesh.server, port, uid=1500).direct
        assert pod.connect(mesh.server, port, uid=1000).captured_outbound


@check(
    "UID-002",
    requirement="A captured connection that the sidecar passes on MUST NOT loop: one accept by the"
    " sidecar, then one by the destination.",
    spec="SPEC-4.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_forwarded_connection_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(mesh.server, 8080)
    assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)
    assert fate.forwarded_to(fate.flow.destination)


@check(
    "UID-003",
    requirement="The exemption of UID 1500 MUST hold for excluded and for included destinations"
    " alike.",
    spec="SPEC-4.1",
    level=MUST,
    profile=Profile.CORE,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
)
def test_lists_do_not_touch_the_sidecars_exemption(mesh: Mesh) -> None:
    server = str(ip_network(mesh.server.address))
    excluding = mesh.pod(annotations={OUTBOUND_IP_RANGE_EXCLUSION_LIST: server})
    including = mesh.pod(annotations={OUTBOUND_IP_RANGE_INCLUSION_LIST: server})

    assert excluding.connect(mesh.client, 8080).captured_outbound
    assert including.connect(mesh.server, 8080).captured_outbound
    for pod in (excluding, including):
        for host in (mesh.server, mesh.client):
            assert pod.connect(host, 8080, uid=1500).direct


@check(
    "UID-004",
    requirement="A connection of UID 0 MUST be captured.",
    spec="SPEC-4.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_root_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=0).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "UID-005",
    requirement="A connection of any other UID MUST be captured: near 1500, of a system's service,"
    " reserved by another mesh, or too great for 16 bits.",
    spec="SPEC-4.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_other_uids_are_captured(mesh: Mesh) -> None:
    pod, uids = mesh.pod(), {*IDS, *SOME_IDS}
    if mesh.exhaustive:
        uids |= {*range(4096), *range(4096, 1 << 16, 61)}

    assert pod.connect(mesh.server, 8080, uid=1500).direct
    for uid in sorted(uids - {1500}):
        if uid <= mesh.highest_id:
            assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound


@check(
    "UID-006",
    requirement="The UID alone MUST decide: no GID exempts an application, and no GID takes the"
    " exemption from UID 1500.",
    spec="SPEC-4.3",
    level=MUST,
    profile=Profile.CORE,
)
def test_group_makes_no_difference(mesh: Mesh) -> None:
    pod, gids = mesh.pod(), {*IDS, *SOME_IDS, 0, 1000, 1500}
    if mesh.exhaustive:
        gids |= set(range(4096))

    for uid in (0, 1501):
        assert pod.connect(mesh.server, 8080, uid=uid, gid=1500).captured_outbound
    for gid in sorted(gid for gid in gids if gid <= mesh.highest_id):
        assert pod.connect(mesh.server, 8080, uid=1000, gid=gid).captured_outbound
    for gid in (0, 101, 1000, 1500, 65534):
        assert pod.connect(mesh.server, 8080, uid=1500, gid=gid).direct


@check(
    "UID-007",
    requirement="An application that runs as UID 1500 MAY bypass the sidecar.",
    spec="SPEC-4.7",
    level=INFO,
    profile=Profile.CORE,
)
def test_application_under_the_sidecars_uid_is_captured(mesh: Mesh) -> None:
    assert mesh.pod().connect(mesh.server, 8080, uid=1500, gid=1000).captured_outbound


@check(
    "UID-008",
    requirement="The UID under which a socket was made SHOULD decide, and not that of the process"
    " that connects it.",
    spec="SPEC-4.6",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_maker_of_the_socket_decides(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        for maker in (0, 1000):
            fate = pod.connect(mesh.server, 8080, uid=maker)
            assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)
        assert pod.connect(mesh.server, 8080, uid=1500).direct


@check(
    "UID-009",
    requirement="A socket that UID 1500 made and handed to another user MAY bypass the sidecar.",
    spec="SPEC-4.7",
    level=INFO,
    profile=Profile.CORE,
)
def test_socket_handed_over_by_the_sidecar_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500, prepare=hand_over).captured_outbound


@check(
    "UID-011",
    requirement="A connection from outside to a server that runs as UID 1500 MUST be captured.",
    spec="SPEC-4.4",
    level=MUST,
    profile=Profile.CORE,
)
def test_server_under_the_sidecars_uid_is_captured(mesh: Mesh) -> None:
    pod = mesh.pod()
    pod.listen(8111, uid=1500)

    assert pod.connect(mesh.server, 8111, uid=1500).direct
    for place in (mesh.client, mesh.server, mesh.node):
        assert place.connect(pod, 8111).captured_inbound


@check(
    "UID-012",
    requirement="The sidecar's connection to its pod's own address MUST NOT be captured outbound,"
    " which would be a loop.",
    spec="SPEC-4.2",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecars_call_to_its_own_pod_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    with sidecars.forwarding(pod):
        fate = pod.connect(pod, 8080, uid=1500)
    assert fate.avoided(Acceptor.SIDECAR_OUTBOUND)
    assert fate.answered
