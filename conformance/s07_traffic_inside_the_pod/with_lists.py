"""What the lists leave alone inside the pod: its own address, and loopback."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir import SIDECAR_UID, Feature, Mesh, Profile, Section, range_of
from pytest_fsmredir.model.vocabulary import (
    EVERYWHERE,
    EXCLUDED_RANGES,
    INCLUDED_RANGES,
    SEED_OUTBOUND_PORTS,
)

section = Section(7, Profile.INCLUSIONS, {Feature.OUTBOUND_IP_RANGE_INCLUSION})


@section.check(
    "LO-013",
    "7.4",
    profile=Profile.EXCLUSIONS,
    features={
        Feature.OUTBOUND_IP_RANGE_EXCLUSION,
        Feature.OUTBOUND_PORT_EXCLUSION,
        Feature.HAIRPIN,
    },
)
def test_exclusions_do_not_touch_the_sidecars_call_to_its_own_pod(mesh: Mesh) -> None:
    """The sidecar's connection to its pod's own address SHOULD be captured inbound on an excluded
    outbound port, and under an excluded range that holds the address."""
    ports = mesh.pod(annotations=SEED_OUTBOUND_PORTS)
    ranges = mesh.pod(annotations={EXCLUDED_RANGES: EVERYWHERE[mesh.family]})

    for pod in (ports, ranges):
        assert pod.connect(mesh.server, 6379).direct
        assert pod.connect(pod, 6379, uid=SIDECAR_UID).captured_inbound


@section.check("LO-014", "7.4", features={Feature.OUTBOUND_IP_RANGE_INCLUSION, Feature.HAIRPIN})
def test_inclusions_do_not_touch_the_sidecars_call_to_its_own_pod(mesh: Mesh) -> None:
    """The sidecar's connection to its pod's own address SHOULD be captured inbound under an
    inclusion list, whether or not that holds the address."""
    outside = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})
    inside = mesh.pod(annotations={INCLUDED_RANGES: EVERYWHERE[mesh.family]})

    assert outside.connect(mesh.client, 8080).direct
    for pod in (outside, inside):
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(pod, 8080, uid=SIDECAR_UID).captured_inbound


@section.check("LO-015", "7.3")
def test_own_address_is_direct_although_included(mesh: Mesh) -> None:
    """The application's connection to its pod's own address SHOULD be direct under an inclusion
    list, whether or not that holds the address."""
    outside = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})
    both = f"{range_of(mesh.client)},{EVERYWHERE[mesh.family]}"
    inside = mesh.pod(annotations={INCLUDED_RANGES: both})

    for pod in (outside, inside):
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(pod, 8080).direct


@section.check("OII-012", "7.1", families=(4,))
def test_loopback_is_direct_although_included(mesh: Mesh) -> None:
    """The application's connection to 127.0.0.1 MUST be direct, even under an inclusion list that
    names the loopback range."""
    lists = {INCLUDED_RANGES: f"127.0.0.0/8,{ip_network(mesh.server.address)}"}
    pod = mesh.pod(annotations=lists)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect("127.0.0.1", 8080).direct
