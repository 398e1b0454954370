"""What the seed's rules do for the sidecar's own connections."""

from __future__ import annotations

from pytest_fsmredir import Acceptor, Address, Mesh, Profile, Section, Sidecars, local_sweep

section = Section(6, Profile.CORE)


@section.check("IN-012", "6.1")
def test_sidecar_reaches_the_application_in_one_hop(mesh: Mesh, sidecars: Sidecars) -> None:
    """The sidecar's connection to 127.0.0.1 on behalf of a client MUST reach the application in
    one hop."""
    pod = mesh.pod()

    with sidecars.forwarding(pod):
        fate = mesh.client.connect(pod, 8080)
    assert fate.passed(Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN)
    assert fate.forwarded_to(Address(mesh.loopback(), 8080))


@section.check("LO-006", "6.1")
def test_sidecar_reaches_localhost_directly(mesh: Mesh) -> None:
    """The sidecar's connection to 127.0.0.1 MUST be direct, whatever loopback address it comes
    from."""
    pod = mesh.pod()
    sources = {4: ("127.0.0.1", "127.0.0.6"), 6: ("::1",)}  # Pipy comes from 127.0.0.6

    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 8080).captured_outbound
    for source in sources[mesh.family]:
        assert pod.connect(mesh.loopback(), 8080, uid=1500, source=Address(source, 0)).direct


@section.check("LO-018", "6.1")
def test_sidecar_reaches_every_local_port_directly(mesh: Mesh) -> None:
    """The sidecar's connection to 127.0.0.1 MUST be direct on every port."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, mesh.loopback(), uid=1500):
        assert fate.direct
