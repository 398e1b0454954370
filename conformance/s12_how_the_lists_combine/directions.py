"""A list acts in its own direction, and on destination ports."""

from __future__ import annotations

from pytest_fsmredir import (
    SIDECAR_UID,
    Address,
    Case,
    Direction,
    Feature,
    Mesh,
    Profile,
    Route,
    Section,
    ends,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    EVERYWHERE,
    EXCLUDED_RANGES,
    EXCLUDING_INBOUND,
    EXCLUDING_OUTBOUND,
    INCLUDED_RANGES,
)

section = Section(12, Profile.EXCLUSIONS, {Feature.OUTBOUND_PORT_EXCLUSION})


@section.check_each(
    Case(
        "OPX-004", "12.1", "outbound exclusion leaves the inbound port captured", other="inbound",
        **EXCLUDING_OUTBOUND,
    ),
    Case(
        "IPX-003", "12.1", "inbound exclusion leaves the outbound port captured", other="outbound",
        **EXCLUDING_INBOUND,
    ),
)  # fmt: skip
def test_port_exclusion_leaves_the_other_direction_captured(
    mesh: Mesh, *, listed: str, direction: Direction
) -> None:
    """An {way} port exclusion MUST NOT exempt the {other} port of the same number."""
    pod = mesh.pod(annotations={listed: "6379,7070"})
    here, there = ends(mesh, pod, direction)

    assert here.connect(there, 6379).direct
    for port in (6379, 7070):
        if direction is Direction.OUTBOUND:
            assert mesh.client.connect(pod, port).captured_inbound
        else:
            assert pod.connect(mesh.server, port).captured_outbound


@section.check_each(
    Case(
        "OPX-006", "12.2", "source port is not compared with outbound exclusions",
        who="connection from a source port that", **EXCLUDING_OUTBOUND,
    ),
    Case(
        "IPX-006", "12.2", "source port is not compared with inbound exclusions",
        who="client whose source port", **EXCLUDING_INBOUND,
    ),
)  # fmt: skip
def test_source_port_is_not_compared_with_exclusions(
    mesh: Mesh, *, listed: str, direction: Direction, captured: Route
) -> None:
    """A {who} equals an excluded {way} port MUST stay captured."""
    pod = mesh.pod(annotations={listed: "6379,7070"})
    here, there = ends(mesh, pod, direction)

    assert here.connect(there, 6379).direct
    for port in (6379, 7070):
        source = Address(here.address, port)
        assert here.connect(there, 8080, source=source).takes(captured)


@section.check("OIX-007", "12.1", features={Feature.OUTBOUND_IP_RANGE_EXCLUSION})
def test_excluded_range_stays_captured_inbound(mesh: Mesh) -> None:
    """An excluded range MUST NOT exempt the connections that come in from it."""
    pod = mesh.pod(annotations={EXCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.server, 8080).direct
    assert mesh.server.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("OIX-008", "12.1", features={Feature.OUTBOUND_IP_RANGE_EXCLUSION})
def test_exclusion_of_everything_is_for_outbound_only(mesh: Mesh) -> None:
    """An exclusion of every address MUST make all outbound connections direct and leave all
    inbound ones captured."""
    both = f"{EVERYWHERE[mesh.family]},{range_of(mesh.client)}"
    pod = mesh.pod(annotations={EXCLUDED_RANGES: both})

    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound
        assert pod.connect(host, 8080).direct
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct


@section.check(
    "OII-006", "12.1", profile=Profile.INCLUSIONS, features={Feature.OUTBOUND_IP_RANGE_INCLUSION}
)
def test_inclusion_list_is_for_outbound_only(mesh: Mesh) -> None:
    """An inclusion list MUST NOT exempt anything inbound, clients inside and outside of it being
    captured alike."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: range_of(mesh.server)})

    assert pod.connect(mesh.client, 8080).direct
    for host in (mesh.server, mesh.client):
        assert host.connect(pod, 8080).captured_inbound
