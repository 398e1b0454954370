"""UDP, which passes untouched."""

from __future__ import annotations

from pytest_fsmredir import (
    Address,
    Feature,
    Mesh,
    Profile,
    SecondInterface,
    Section,
    Workloads,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    INCLUDED_RANGES,
    PEER,
    PORT_EXCLUSIONS,
    SEED_INBOUND_PORTS,
    SEED_PORTS,
)

section = Section(5, Profile.CORE)

NOTABLE_PORTS = (1, 53, 443, 8080, 15000, 15001, 15003, 15010, 15901, 15904, 65535)
# DHCP, NTP, SNMP, syslog, STUN, VXLAN, Geneve, StatsD, Flannel, traceroute, WireGuard; a NodePort
USED_PORTS = (67, 123, 161, 514, 3478, 4789, 6081, 8125, 8472, 30000, 33434, 51820)
LOCAL_RESOLVERS = {4: ("127.0.0.1", "127.0.0.53", "127.0.0.153"), 6: ("::1",)}
QUIC_INITIAL = bytes(1200)  # RFC 9000, 14.1; the answer, which names who gives it, is longer
ALMOST_A_PACKET = bytes(1340)  # with headers and in an answer less than 1500
LONGER_THAN_ANY_LINK = bytes(20_000)


@section.check("PROTO-001", "5.2")
def test_outbound_datagram_is_direct(mesh: Mesh) -> None:
    """A UDP datagram from the pod to any remote port MUST reach its destination with the sender's
    own address."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for port in NOTABLE_PORTS + USED_PORTS:
        assert pod.datagram(mesh.server, port).direct
    for uid in (0, 1499, 1500):
        assert pod.datagram(mesh.client, 8080, uid=uid).direct


@section.check("PROTO-002", "5.2")
def test_inbound_datagram_is_direct(mesh: Mesh) -> None:
    """A UDP datagram from outside to any port of the pod MUST reach the application with the
    sender's own address."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    for port in NOTABLE_PORTS + USED_PORTS:
        assert mesh.client.datagram(pod, port).direct


@section.check("PROTO-019", "5.2")
def test_long_datagram_is_direct(mesh: Mesh) -> None:
    """A long UDP datagram that fits the link MUST be direct, and so its answer, on ports of DNS
    and QUIC as on any other."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 443).captured_outbound
    assert mesh.client.connect(pod, 443).captured_inbound
    for port in (53, 443, 8080):
        for payload in (QUIC_INITIAL, ALMOST_A_PACKET):
            assert pod.datagram(mesh.server, port, payload=payload).direct
            assert mesh.client.datagram(pod, port, payload=payload).direct


@section.check("PROTO-003", "5.1")
def test_dns_is_captured_over_tcp_only(mesh: Mesh) -> None:
    """DNS MUST be captured over TCP and be direct over UDP, for every user of the pod."""
    pod = mesh.pod()

    for uid in (0, 1000, 65534):
        assert pod.connect(mesh.server, 53, uid=uid).captured_outbound
        assert pod.datagram(mesh.server, 53, uid=uid).direct


@section.check("PROTO-007", "5.4")
def test_fragmented_datagram_arrives_whole(mesh: Mesh) -> None:
    """A UDP datagram longer than the link's MTU SHOULD arrive whole and direct, out of the pod and
    into it."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.datagram(mesh.server, 8080, payload=LONGER_THAN_ANY_LINK).direct
    assert mesh.client.datagram(pod, 8080, payload=LONGER_THAN_ANY_LINK).direct


@section.check("PROTO-009", "5.4")
def test_reused_udp_source_port_is_never_translated(mesh: Mesh) -> None:
    """Datagrams from one source port to alternating targets SHOULD each be direct, whatever TCP
    does on the same ports."""
    pod = mesh.pod()
    source = Address(pod.address, 20009)

    with pod.open(mesh.server, 53, source=source) as tcp:
        assert tcp.fate.captured_outbound
        for target in (mesh.server, mesh.client) * 3:
            assert pod.datagram(target, 53, source=source).direct
            assert pod.datagram(target, 15001, source=source).direct


@section.check("PROTO-012", "5.2", profile=Profile.EXCLUSIONS, features=PORT_EXCLUSIONS)
def test_port_exclusions_mean_nothing_to_udp(mesh: Mesh) -> None:
    """A port exclusion MUST NOT change anything for UDP, on the listed ports or on others."""
    pod = mesh.pod(annotations=SEED_PORTS)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 6379).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    for port in (6379, 7070, 8080):
        assert pod.datagram(mesh.server, port).direct
        assert mesh.client.datagram(pod, port).direct


@section.check("PROTO-013", "5.2")
def test_datagram_inside_the_pod_is_direct(mesh: Mesh) -> None:
    """UDP inside the pod, to a resolver on loopback or to the pod's own address, MUST be
    untouched."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 53).captured_outbound
    for resolver in (*LOCAL_RESOLVERS[mesh.family], pod.address):
        for port in (53, 8080, 15001, 15003):
            assert pod.datagram(resolver, port).direct


@section.check("PROTO-014", "5.2")
def test_datagram_keeps_the_address_it_comes_from(mesh: Mesh, second: SecondInterface) -> None:
    """A UDP datagram from any of the pod's addresses MUST reach its destination with that very
    address."""
    pod = second.pod()

    for own in (pod.address, second.address(pod)):
        assert pod.connect(mesh.server, 8080, source=Address(own, 0)).captured_outbound
        assert pod.datagram(mesh.server, 8080, source=Address(own, 0)).direct


@section.check("PROTO-021", "5.2")
def test_datagram_is_direct_on_every_interface(mesh: Mesh, second: SecondInterface) -> None:
    """A UDP datagram over any of the pod's interfaces MUST be direct, out of the pod and into
    it."""
    pod = second.pod()
    beyond, own = second.remote_address(), second.interface_address(pod)

    assert pod.connect(beyond, 8080, interface="net1").captured_outbound
    assert mesh.client.connect(own, 8080, interface="net1").captured_inbound
    assert pod.datagram(beyond, 8080).direct
    assert mesh.client.datagram(own, 8080).direct


@section.check(
    "IPX-008", "5.2", profile=Profile.EXCLUSIONS, features={Feature.INBOUND_PORT_EXCLUSION}
)
def test_inbound_exclusions_are_no_concern_of_udp(mesh: Mesh) -> None:
    """UDP from outside MUST pass untouched on an excluded inbound port as on any other."""
    pod = mesh.pod(annotations=SEED_INBOUND_PORTS)

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.datagram(pod, 6379).direct
    assert mesh.client.datagram(pod, 8080).direct


@section.check(
    "OII-013", "5.2", profile=Profile.INCLUSIONS, features={Feature.OUTBOUND_IP_RANGE_INCLUSION}
)
def test_inclusion_list_is_no_concern_of_udp(mesh: Mesh) -> None:
    """UDP MUST pass untouched under an inclusion list, inside and outside its ranges."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.server, 8080).captured_outbound
    for host in (mesh.server, mesh.client):
        assert pod.datagram(host, 8080).direct
        assert host.datagram(pod, 8080).direct


@section.check("KUBE-007", "5.2", profile=Profile.KUBERNETES, families=(4,))
def test_names_are_resolved_past_the_sidecar(mesh: Mesh, workloads: Workloads) -> None:
    """The cluster's DNS MUST answer the application by UDP, with TCP to port 53 captured."""
    pod, peer = mesh.pod(), mesh.pod(annotations=PEER)
    name = workloads.service(peer, 8080, headless=True)

    assert pod.connect(mesh.server, 53).captured_outbound
    addresses = workloads.resolve(pod, name)
    assert addresses == (peer.address,), f"{name} resolves to {addresses}, not {peer.address}"
