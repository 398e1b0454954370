"""Outbound capture, port by port and address by address."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

from pytest_fsmredir import (
    ForeignPrograms,
    Mesh,
    Need,
    Pod,
    Profile,
    Route,
    SecondInterface,
    Section,
    ports_to_judge,
    remote_hosts,
)
from pytest_fsmredir.model.vocabulary import (
    HIGH_REMOTE_PORTS,
    NEAR_POWERS_OF_TWO,
    OFTEN_SPARED_PORTS,
    PORT_EXCLUSIONS,
    PORTS_OF_OTHER_MESHES,
    RANDOM_PORTS,
    REMOTE_PORTS,
    RESERVED_PORTS,
    SEED_INBOUND_PORTS,
    SEED_OUTBOUND_PORTS,
)

section = Section(1, Profile.CORE)


def addresses_of_routes(pod: Pod, programs: ForeignPrograms, family: int) -> set[str]:
    """Return the gateways of the pod's routes, and the first and last addresses of their ranges.

    Addresses of the pod itself are left out, those that an implementation adds too: Istio's tool
    adds ::6 to the loopback interface.
    """
    done = programs.run(pod, ["ip", "-json", f"-{family}", "route", "show", "table", "all"])
    every = json.loads(done.stdout)
    own = {route["dst"] for route in every if route.get("type") == "local"}
    routes = [route for route in every if "type" not in route]
    ranges = [ip_network(route["dst"]) for route in routes if route["dst"] != "default"]
    named = {ip_address(route["gateway"]) for route in routes if "gateway" in route}
    named |= {network[place] for network in ranges for place in (0, -1)}
    shown = {str(address) for address in named if family == 4 or not address.is_link_local}
    return shown - own


@section.check("OUT-002", "1.2")
def test_every_remote_port_is_captured(mesh: Mesh) -> None:
    """Outbound capture MUST hold for every destination port when no list is set."""
    sample = {
        *REMOTE_PORTS,
        *HIGH_REMOTE_PORTS,
        *PORTS_OF_OTHER_MESHES,
        *OFTEN_SPARED_PORTS,
        *NEAR_POWERS_OF_TWO,
        *RANDOM_PORTS,
    }
    pod = mesh.pod()
    ports = ports_to_judge(mesh, pod, Route.SIDECAR_OUTBOUND, mesh.server, sample)

    for fate in pod.connect_all(mesh.server, ports):
        assert fate.captured_outbound


@section.check("OUT-016", "1.2")
def test_reserved_numbers_are_ordinary_remote_ports(mesh: Mesh) -> None:
    """A remote port whose number FSM reserves MUST be captured like any other."""
    for fate in mesh.pod().connect_all(mesh.server, RESERVED_PORTS):
        assert fate.captured_outbound


@section.check("RES-023", "1.2", profile=Profile.EXCLUSIONS, features=PORT_EXCLUSIONS)
def test_port_exclusions_exempt_no_reserved_number_outbound(mesh: Mesh) -> None:
    """A port exclusion list that does not name a reserved port number MUST NOT exempt that number
    on a remote host."""
    for lists in (SEED_INBOUND_PORTS, SEED_OUTBOUND_PORTS):
        pod = mesh.pod(annotations=lists)
        for port in RESERVED_PORTS:
            assert pod.connect(mesh.server, port).captured_outbound


@section.check("OUT-004", "1.1", needs={Need.REMOTE_ADDRESSES})
def test_every_remote_range_is_captured(mesh: Mesh) -> None:
    """Outbound capture MUST hold for private, link-local and public destinations alike when no
    list is set."""
    pod = mesh.pod()

    for address in remote_hosts(mesh):
        assert pod.connect(address, 443).captured_outbound


@section.check("OUT-028", "1.1")
def test_addresses_of_the_routes_are_captured(
    mesh: Mesh, programs: ForeignPrograms, second: SecondInterface
) -> None:
    """Connections to the gateways that the pod's routes name, and to the first and last addresses
    of their ranges, MUST be captured, and be direct from UID 1500."""
    pod = second.pod()
    named = addresses_of_routes(pod, programs, mesh.family)

    assert pod.connect(mesh.server, 443).captured_outbound
    for address in sorted(named - {*pod.addresses}):
        assert pod.connect(address, 443).captured_outbound
        assert pod.connect(address, 443, uid=1500).direct
