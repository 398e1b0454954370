"""Traffic that stays inside the pod, and the pod that calls itself."""

from __future__ import annotations

from pytest_fsmredir import (
    SHOULD,
    Acceptor,
    Address,
    Feature,
    Mesh,
    Need,
    Profile,
    SearchTools,
    SecondInterface,
    Section,
    Sidecars,
    Workloads,
    search_pod,
)
from pytest_fsmredir.model.vocabulary import SEED_OUTBOUND_PORTS

section = Section(7, Profile.CORE)

LOOPBACK_NETWORK = ("127.0.0.2", "127.0.0.6", "127.0.0.153", "127.0.1.1", "127.255.255.254")


@section.check("LO-001", "7.1", families=(4,))
def test_localhost_is_direct(mesh: Mesh) -> None:
    """The application's connection to 127.0.0.1 MUST be direct."""
    pod = mesh.pod()

    for port in (80, 8080, 15002):
        for uid in (0, 1000):
            assert pod.connect(mesh.server, port, uid=uid).captured_outbound
            assert pod.connect("127.0.0.1", port, uid=uid).direct


@section.check("LO-002", "7.3")
def test_own_address_is_direct(mesh: Mesh) -> None:
    """The application's connection to its pod's own address SHOULD be direct."""
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    for uid in (0, 1000):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(pod, 8080, uid=uid).direct


@section.check("LO-003", "7.2", families=(4,))
def test_rest_of_the_loopback_network_is_direct(mesh: Mesh) -> None:
    """The application's connection to any other address in 127.0.0.0/8 SHOULD be direct."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for address in LOOPBACK_NETWORK:
        assert pod.connect(address, 8080).direct


@section.check("LO-004", "7.2", profile=Profile.IPV6, features={Feature.IPV6}, families=(6,))
def test_ipv6_localhost_is_direct(mesh: Mesh) -> None:
    """The application's connection to ::1 SHOULD be direct."""
    pod = mesh.pod()

    for uid in (0, 1000):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect("::1", 8080, uid=uid).direct


@section.check("LO-005", "7.4", features={Feature.HAIRPIN})
def test_sidecars_call_to_its_own_pod_is_captured_once(mesh: Mesh, sidecars: Sidecars) -> None:
    """The sidecar's connection to its pod's own address SHOULD be captured inbound exactly once,
    with that address as original destination."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(pod, 8080, uid=1500)
    assert fate.captured_inbound
    assert fate.passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)


@section.check("LO-007", "7.5", features={Feature.HAIRPIN}, needs={Need.REMOTE_ADDRESSES})
def test_call_to_itself_through_a_service_passes_both_listeners(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    """A call to a service that leads back to the calling pod SHOULD pass the outbound listener,
    then the inbound listener, then reach the application, each once."""
    pod = mesh.pod()
    service = str(mesh.subnet(9)[9])

    with sidecars.forwarding(pod, {service: pod.address}):
        pod.listen(8080)
        fate = pod.connect(service, 8080)
    assert fate.captured_outbound
    assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
    assert fate.forwarded_to(Address(pod.address, 8080))


@section.check("LO-008", "7.6", families=(4,))
def test_sidecar_reaches_the_rest_of_loopback_directly(mesh: Mesh) -> None:
    """The sidecar's connection to 127.0.0.2 MAY be captured inbound."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect("127.0.0.2", 8080, uid=1500).direct


@section.check("LO-011", "7.3")
def test_further_own_addresses_are_direct(mesh: Mesh, second: SecondInterface) -> None:
    """The application's connection to any other address of its pod SHOULD be direct."""
    pod = second.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for address in (second.address(pod), second.interface_address(pod)):
        assert pod.connect(address, 8080).direct


@section.check("LO-012", "7.4", features={Feature.HAIRPIN})
def test_sidecars_call_to_further_own_addresses_is_captured(second: SecondInterface) -> None:
    """The sidecar's connection to any other address of its pod SHOULD be captured inbound, with
    that address as original destination."""
    pod = second.pod()

    assert pod.connect(pod, 8080).direct
    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        assert pod.connect(address, 8080, uid=1500).captured_inbound


@section.check(
    "KUBE-006", "7.5", profile=Profile.KUBERNETES, features={Feature.HAIRPIN}, families=(4,)
)
def test_own_service_is_captured(mesh: Mesh, workloads: Workloads) -> None:
    """A connection to a Service of the calling pod itself SHOULD be captured outbound."""
    pod = mesh.pod()
    (address,) = workloads.resolve(pod, workloads.service(pod, 8080))

    assert pod.connect(address, 8080).captured_outbound


@section.check(
    "OPX-009", "7.3", profile=Profile.EXCLUSIONS, features={Feature.OUTBOUND_PORT_EXCLUSION}
)
def test_own_address_is_direct_on_an_excluded_outbound_port(mesh: Mesh) -> None:
    """The application's connection to its pod's own address SHOULD be direct on an excluded
    outbound port as on any other."""
    pod = mesh.pod(annotations=SEED_OUTBOUND_PORTS)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(pod, 6379).direct
    assert pod.connect(pod, 8080).direct


@section.check("ALL-002", "7.3", needs={Need.CLIENT_ADDRESSES})
def test_every_flow_is_treated_as_recommended(mesh: Mesh, tools: SearchTools) -> None:
    """Every connection inside the pod, and every rarer packet, SHOULD go where it has to in a pod
    without lists."""
    assert search_pod(mesh, tools, SHOULD, {}).agrees
