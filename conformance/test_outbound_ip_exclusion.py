"""Outbound IP range exclusions; what a range covers is in test_ip_ranges."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import (
    MUST,
    SHOULD,
    SIDECAR_UID,
    Acceptor,
    Address,
    Feature,
    ForeignPrograms,
    Mesh,
    Need,
    Place,
    Pod,
    Profile,
    SecondInterface,
    check,
)

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
EMPTY_LISTS: dict[str, list[str]] = {
    "outboundIPRangeExclusionList": [],
    "outboundIPRangeInclusionList": [],
}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
PORTS = (1, 22, 53, 80, 443, 6379, 15000, 15001, 15003, 15904, 65535)


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _translate(service: Pod, programs: ForeignPrograms, to: Place, family: int) -> None:
    """Make a pod's address stand for another host, as a node does with a service address.

    Raises:
        OSError: The rules could not be set.
    """
    rules = f"""\
*nat
-A PREROUTING -p tcp -j DNAT --to-destination {to.address}
-A POSTROUTING -p tcp -j MASQUERADE
COMMIT
"""
    program = "iptables-restore" if family == 4 else "ip6tables-restore"
    script = f"echo 1 > /proc/sys/net/{FORWARDING[family]} && {program} --noflush"
    done = programs.run(service, ["/bin/sh", "-c", script], rules)
    if done.status != 0:
        raise OSError(done.stderr)


@check(
    "OIX-001",
    requirement="TCP to an address inside an excluded range MUST be direct for every user, while"
    " other addresses stay captured.",
    spec="SPEC-8.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_excluded_address_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={EXCLUSION_LIST: _only(mesh.server)})

    for uid in (0, 1000, 1501):
        assert pod.connect(mesh.client, 8080, uid=uid).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=uid).direct


@check(
    "OIX-006",
    requirement="An excluded address MUST be direct on any port, UDP being no concern of the list.",
    spec="SPEC-8.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_excluded_address_is_direct_on_any_port(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={EXCLUSION_LIST: _only(mesh.server)})

    for fate in pod.connect_all(mesh.client, PORTS):
        assert fate.captured_outbound
    for port in PORTS:
        assert pod.connect(mesh.server, port).direct
    for host in (mesh.server, mesh.client):
        assert pod.datagram(host, 8080).direct


@check(
    "OIX-007",
    requirement="An excluded range MUST NOT exempt the connections that come in from it.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_excluded_range_stays_captured_inbound(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={EXCLUSION_LIST: _only(mesh.server)})

    assert pod.connect(mesh.server, 8080).direct
    assert mesh.server.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@check(
    "OIX-008",
    requirement="An exclusion of every address MUST make all outbound connections direct and leave"
    " all inbound ones captured.",
    spec="SPEC-12.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_exclusion_of_everything_is_for_outbound_only(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={EXCLUSION_LIST: EVERYWHERE[mesh.family]})

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound
        assert pod.connect(host, 8080).direct
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct


@check(
    "OIX-010",
    requirement="The address that the application dialled SHOULD decide, not the one that it is"
    " translated to outside the pod.",
    spec="SPEC-8.5",
    level=SHOULD,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_excluded_service_address_is_direct(mesh: Mesh, programs: ForeignPrograms) -> None:
    service, server = mesh.bare_pod(), mesh.server
    _translate(service, programs, server, mesh.family)
    server.listen(8080)
    service_excluded = mesh.pod(annotations={EXCLUSION_LIST: _only(service)}, fresh=True)
    server_excluded = mesh.pod(annotations={EXCLUSION_LIST: _only(server)})

    assert server_excluded.connect(service, 8080, answer=False).captured_outbound
    assert service_excluded.connect(server, 8080).captured_outbound
    fate = service_excluded.connect(service, 8080, answer=False)
    assert fate.passed(Acceptor.ORIGIN)
    assert fate.translated_to(Address(server.address, 8080))


@check(
    "OIX-011",
    requirement="An empty exclusion list MUST act as no list, excluding nothing.",
    spec="SPEC-13.9",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_empty_exclusion_list_excludes_nothing(mesh: Mesh) -> None:
    pod = mesh.pod(mesh_config=EMPTY_LISTS)

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound


@check(
    "OIX-012",
    requirement="Ranges excluded for the mesh and ranges excluded for the pod MUST all be direct in"
    " that pod.",
    spec="SPEC-13.5",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.REMOTE_ADDRESSES, Need.DEFAULT_CLUSTER_RANGES},
    families=(4,),
)
def test_exclusion_lists_of_both_scopes_add_up(mesh: Mesh) -> None:
    pod = mesh.pod(
        mesh_config={"outboundIPRangeExclusionList": ["1.1.1.1/32", "2.2.2.2/24"]},
        annotations={EXCLUSION_LIST: "10.244.0.0/16,10.96.0.0/16"},
    )

    for address in ("1.1.1.2", "2.2.3.0", "10.243.255.255", "10.245.0.0", "10.97.0.0"):
        assert pod.connect(address, 8080).captured_outbound
    for address in ("1.1.1.1", "2.2.2.255", "10.244.0.0", "10.244.255.255", "10.96.0.1"):
        assert pod.connect(address, 8080).direct


@check(
    "OIX-014",
    requirement="An excluded range MUST be direct whichever of the pod's addresses a connection"
    " comes from, and whichever interface it leaves by.",
    spec="SPEC-8.1",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
)
def test_excluded_range_holds_on_every_way_out(mesh: Mesh, second: SecondInterface) -> None:
    beyond = ip_network(second.remote_address())
    lists = {EXCLUSION_LIST: f"{_only(mesh.server)},{beyond}"}
    pod = second.pod(annotations=lists)

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.client, 8080, source=Address(own, 0)).captured_outbound
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).direct
    assert pod.connect(str(beyond[0] + 1), 8080, interface="net1").captured_outbound
    assert pod.connect(str(beyond[0]), 8080, interface="net1").direct
