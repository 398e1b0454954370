"""Flows that must not pass the sidecar twice."""

from __future__ import annotations

from pytest_fsmredir import (
    Acceptor,
    Address,
    Feature,
    Mesh,
    NestedContainers,
    Profile,
    Programmer,
    Section,
    Sidecars,
    range_of,
)
from pytest_fsmredir.model.vocabulary import INCLUDED_RANGES

section = Section(4, Profile.CORE)

LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}


@section.check("UID-002", "4.2")
def test_forwarded_connection_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    """A captured connection that the sidecar passes on MUST NOT loop: one accept by the sidecar,
    then one by the destination."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = pod.connect(mesh.server, 8080)
    assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN)
    assert fate.forwarded_to(fate.flow.destination)


@section.check("UID-012", "4.2")
def test_sidecars_call_to_its_own_pod_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    """The sidecar's connection to its pod's own address MUST NOT be captured outbound, which would
    be a loop."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    with sidecars.forwarding(pod):
        fate = pod.connect(pod, 8080, uid=1500)
    assert fate.avoided(Acceptor.SIDECAR_OUTBOUND)
    assert fate.answered


@section.check("OUT-017", "4.2")
def test_call_to_another_pod_passes_both_sidecars(mesh: Mesh, sidecars: Sidecars) -> None:
    """A call from one pod to another MUST pass the outbound listener of the first, the inbound
    listener of the second and then reach the application, each once."""
    here, there = mesh.pod(), mesh.pod(fresh=True)

    with sidecars.forwarding(here), sidecars.forwarding(there):
        fate = here.connect(there, 8080)
        assert fate.captured_outbound
        assert fate.passed(Acceptor.SIDECAR_OUTBOUND, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
        assert fate.forwarded_to(Address(there.address, 8080))


@section.check("RES-011", "4.2")
def test_dialling_the_listeners_from_outside_does_not_loop(mesh: Mesh, sidecars: Sidecars) -> None:
    """A connection from outside to port 15001 or 15003 MUST NOT loop: it causes at most two
    connections."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        assert mesh.client.connect(pod, 8080).captured_inbound
        for port in (15001, 15003):
            assert mesh.client.connect(pod, port).ends_within(2)


@section.check("RES-012", "4.5")
def test_dialling_the_outbound_listener_inside_does_not_loop(
    mesh: Mesh, sidecars: Sidecars
) -> None:
    """An application that dials its pod's own port 15001 SHOULD NOT cause a loop."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        assert pod.connect(mesh.server, 15001).captured_outbound
        for host in (mesh.loopback(), pod.address):
            assert pod.connect(host, 15001).ends_within(2)


@section.check("COEX-004", "4.5", profile=Profile.LIFECYCLE, families=(4,))
def test_forwarded_traffic_does_not_loop(
    mesh: Mesh, sidecars: Sidecars, containers: NestedContainers
) -> None:
    """TCP that the pod only forwards SHOULD NOT loop through the sidecar."""
    pod = mesh.pod(fresh=True)
    nested = containers.inside(pod)

    with sidecars.forwarding(pod):
        assert pod.connect(mesh.server, 8080).captured_outbound
        fate = nested.connect(mesh.server, 8080)
    assert fate.ends_within(2)


@section.check(
    "OII-008", "4.5", profile=Profile.INCLUSIONS, features={Feature.OUTBOUND_IP_RANGE_INCLUSION}
)
def test_inclusion_of_local_addresses_does_not_loop(
    mesh: Mesh, programmer: Programmer, sidecars: Sidecars
) -> None:
    """Redirection SHOULD NOT loop under an inclusion list that names the loopback range and the
    pod's own address."""
    pod = mesh.bare_pod()
    programmer.program(
        pod, annotations={INCLUDED_RANGES: f"{LOOPBACK[mesh.family]},{range_of(pod)}"}
    )

    assert mesh.client.connect(pod, 8080).captured_inbound
    with sidecars.forwarding(pod):
        assert mesh.client.connect(pod, 8080).passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
        for address in (pod.address, mesh.loopback()):
            assert pod.connect(address, 8080).ends_within(3)
