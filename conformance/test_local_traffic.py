"""Traffic that stays inside the pod, and the pod that calls itself."""

from __future__ import annotations

from pytest_fsmredir import (
    INFO,
    MUST,
    SHOULD,
    Acceptor,
    Address,
    Feature,
    Mesh,
    Need,
    Profile,
    SecondInterface,
    Sidecars,
    check,
)

LOOPBACK_NETWORK = ("127.0.0.2", "127.0.0.6", "127.0.0.153", "127.0.1.1", "127.255.255.254")


@check(
    "LO-001",
    requirement="The application's connection to 127.0.0.1 MUST be direct.",
    spec="SPEC-7.1",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_localhost_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod()

    for port in (80, 8080, 15002):
        for uid in (0, 1000):
            assert pod.connect(mesh.server, port, uid=uid).captured_outbound
            assert pod.connect("127.0.0.1", port, uid=uid).direct


@check(
    "LO-002",
    requirement="The application's connection to its pod's own address SHOULD be direct.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_own_address_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert mesh.client.connect(pod, 8080).captured_inbound
    for uid in (0, 1000):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect(pod, 8080, uid=uid).direct


@check(
    "LO-003",
    requirement="The application's connection to any other address in 127.0.0.0/8 SHOULD be"
    " direct.",
    spec="SPEC-7.2",
    level=SHOULD,
    profile=Profile.CORE,
    families=(4,),
)
def test_rest_of_the_loopback_network_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for address in LOOPBACK_NETWORK:
        assert pod.connect(address, 8080).direct


@check(
    "LO-004",
    requirement="The application's connection to ::1 SHOULD be direct.",
    spec="SPEC-7.2",
    level=SHOULD,
    profile=Profile.IPV6,
    features={Feature.IPV6},
    families=(6,),
)
def test_ipv6_localhost_is_direct(mesh: Mesh) -> None:
    pod = mesh.pod()

    for uid in (0, 1000):
        assert pod.connect(mesh.server, 8080, uid=uid).captured_outbound
        assert pod.connect("::1", 8080, uid=uid).direct


@check(
    "LO-005",
    requirement="The sidecar's connection to its pod's own address SHOULD be captured inbound"
    " exactly once, with that address as original destination.",
    spec="SPEC-7.4",
    level=SHOULD,
    profile=Profile.CORE,
    features={Feature.HAIRPIN},
)
def test_sidecars_call_to_its_own_pod_is_captured_once(mesh: Mesh, sidecars: Sidecars) -> None:
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(pod, 8080, uid=1500)
    assert fate.captured_inbound
    assert fate.passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)


@check(
    "LO-006",
    requirement="The sidecar's connection to 127.0.0.1 MUST be direct, whatever loopback address it"
    " comes from.",
    spec="SPEC-6.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_reaches_localhost_directly(mesh: Mesh) -> None:
    pod = mesh.pod()
    sources = {4: ("127.0.0.1", "127.0.0.6"), 6: ("::1",)}  # Pipy comes from 127.0.0.6

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).captured_outbound
    for source in sources[mesh.family]:
        assert pod.connect(mesh.loopback(), 8080, uid=1500, source=Address(source, 0)).direct


@check(
    "LO-007",
    requirement="A call to a service that leads back to the calling pod SHOULD pass the outbound"
    " listener, then the inbound listener, then reach the application, each once.",
    spec="SPEC-7.5",
    level=SHOULD,
    profile=Profile.CORE,
    features={Feature.HAIRPIN},
    needs={Need.REMOTE_ADDRESSES},
)
def test_call_to_itself_through_a_service_passes_both_listeners(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    pod = mesh.pod()
    service = str(mesh.subnet(9)[9])

    with sidecars.forwarding(pod, {service: pod.address}):
        pod.listen(8080)
        fate = pod.connect(service, 8080)
    assert fate.captured_outbound
    assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
    assert fate.forwarded_to(Address(pod.address, 8080))


@check(
    "LO-008",
    requirement="The sidecar's connection to 127.0.0.2 MAY be captured inbound.",
    spec="SPEC-7.6",
    level=INFO,
    profile=Profile.CORE,
    families=(4,),
)
def test_sidecar_reaches_the_rest_of_loopback_directly(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect("127.0.0.2", 8080, uid=1500).direct


@check(
    "LO-011",
    requirement="The application's connection to any other address of its pod SHOULD be direct.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_further_own_addresses_are_direct(mesh: Mesh, second: SecondInterface) -> None:
    pod = second.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for address in (second.address(pod), second.interface_address(pod)):
        assert pod.connect(address, 8080).direct


@check(
    "LO-012",
    requirement="The sidecar's connection to any other address of its pod SHOULD be captured"
    " inbound, with that address as original destination.",
    spec="SPEC-7.4",
    level=SHOULD,
    profile=Profile.CORE,
    features={Feature.HAIRPIN},
)
def test_sidecars_call_to_further_own_addresses_is_captured(second: SecondInterface) -> None:
    pod = second.pod()

    assert pod.connect(pod, 8080).direct
    for address in (pod.address, second.address(pod), second.interface_address(pod)):
        assert pod.connect(address, 8080, uid=1500).captured_inbound
