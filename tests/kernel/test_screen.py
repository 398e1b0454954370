"""First packets of many flows, and the flows that need a look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.shared_steps import add_foreign_rules
from pytest_fsmredir.implementations.base import IptablesVariant, Target
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.flow import Address, Route
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.deciding import decide

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

VARIANT = IptablesVariant.NFT
ODD = 31337
PORTS = range(ODD - 100, ODD + 100)

# Each sweep with a rule of the table nat that gives one port another route.
SWEEPS = {
    "OUT-002": (4, "-I OUTPUT -p tcp --dport 31337 -j ACCEPT"),
    "IN-002": (4, "-I PREROUTING -p tcp --dport 31337 -j ACCEPT"),
    "UID-015": (4, "-I OUTPUT -p tcp --dport 31337 -j REDIRECT --to-ports 15001"),
    "LO-016": (4, "-I OUTPUT -d 127.0.0.1 -p tcp --dport 31337 -j REDIRECT --to-ports 15001"),
    "LO-017": (6, "-I OUTPUT -d ::1 -p tcp --dport 31337 -j REDIRECT --to-ports 15001"),
    "LO-018": (4, "-I OUTPUT -o lo -p tcp --dport 31337 -j REDIRECT --to-ports 15001"),
    "LO-019": (4, "-I OUTPUT -o lo -p tcp --dport 31337 -j REDIRECT --to-ports 15001"),
}

# Other fates of one port of the pod's direct flows to itself, by the table of the rule.
OTHER_FATES = {
    "redirected to the sidecar": ("nat", "OUTPUT {} -j REDIRECT --to-ports 15001"),
    "redirected to a closed port": ("nat", "OUTPUT {} -j REDIRECT --to-ports 9"),
    "dropped on its way out": ("filter", "OUTPUT {} -j DROP"),
    "dropped on its way in": ("filter", "INPUT {} -j DROP"),
    "reset by a rule on its way out": ("filter", "OUTPUT {} -j REJECT --reject-with tcp-reset"),
    "reset by a rule on its way in": ("filter", "INPUT {} -j REJECT --reject-with tcp-reset"),
    "without an answer": ("filter", "OUTPUT -p tcp --sport 31337 -j DROP"),
    "from another source": ("nat", "POSTROUTING {} -j SNAT --to-source {}"),
}


class OneOdd:
    """The reference, and one further rule of the table nat."""

    name, features = "one odd port", Reference.features

    def __init__(self, family: int, rule: str) -> None:
        self._family, self._rule = family, rule

    def program(self, target: Target) -> None:
        """Program one pod."""
        Reference().program(target)
        program = "iptables" if self._family == 4 else "ip6tables"
        assert target.run([program, "-t", "nat", *self._rule.split()]).status == 0


@pytest.fixture(scope="module")
def backend() -> Iterator[NetnsBackend]:
    """One backend for all tests; each test has its own mesh."""
    with closing(NetnsBackend(Reference(), families=(4, 6), timeout_s=5.0)) as made:
        yield made


@pytest.fixture(params=[4, 6])
def mesh(backend: NetnsBackend, request: pytest.FixtureRequest) -> Iterator[NetnsMesh]:
    with closing(backend.mesh(request.param, VARIANT, exhaustive=True)) as mesh:
        yield mesh


def ports(place: NetnsPlace, route: Route, host: str, *, uid: int | None = None) -> list[int]:
    """Return the ports that need a look."""
    flows = [Address(host, port) for port in PORTS]
    return [each.port for each in place.not_taking(route, flows, uid=uid)]


def routes(mesh: NetnsMesh, pod: NetnsPod) -> list[tuple[NetnsPlace, Route, str, int]]:
    """Return a source, a route, a destination and a user for each kind of flow."""
    server = mesh.server.address
    return [
        (pod, Route.SIDECAR_OUTBOUND, server, 1000),
        (pod, Route.DIRECT, server, 1500),
        (mesh.client, Route.SIDECAR_INBOUND, pod.address, 0),
        (pod, Route.DIRECT, mesh.loopback(), 1000),
        (pod, Route.DIRECT, pod.address, 1000),
    ]


def test_flows_of_the_reference_need_no_look(mesh: NetnsMesh) -> None:
    """Catches: a first packet is not recognised, so every port is judged by a connection."""
    pod = mesh.pod()

    for place, route, host, uid in routes(mesh, pod):
        assert ports(place, route, host, uid=uid) == [], (route, host)


def test_first_packets_of_another_route_need_a_look(mesh: NetnsMesh) -> None:
    """Catches: a captured flow counts as direct, or a direct one as captured."""
    pod, every = mesh.pod(), list(PORTS)
    ways = routes(mesh, pod)

    for place, route, host, uid in ways:
        for other in set(Route) - {route}:
            assert ports(place, other, host, uid=uid) == every, (route, other, host)


@pytest.mark.parametrize("fate", OTHER_FATES)
def test_port_with_another_fate_needs_a_look(mesh: NetnsMesh, fate: str) -> None:
    """Catches: a flow counts as direct because the pod refused some packet of it."""
    pod = mesh.pod(fresh=True)
    table, rule = OTHER_FATES[fate]
    rule = rule.format("-p tcp --dport 31337", pod.address)
    programs = mesh.facet(ForeignPrograms)
    add_foreign_rules(programs, pod, mesh.family, f"*{table}\n-I {rule}\nCOMMIT\n")

    assert ports(pod, Route.DIRECT, mesh.loopback()) == [ODD]


def test_port_with_a_listener_needs_a_look(mesh: NetnsMesh) -> None:
    """Catches: an answer counts as the destination's though a transparent listener may send it."""
    pod = mesh.pod()

    with pod.listening(ODD):
        assert ports(pod, Route.DIRECT, pod.address) == [ODD]


@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_owner_with_another_route_needs_a_look(mesh: NetnsMesh, kind: str) -> None:
    """Catches: first packets of many users come from one user, so an exempt one is missed."""
    pod, ids = mesh.pod(fresh=True), range(2300, 2400)
    owners = [(number, 1000) if kind == "uid" else (1000, number) for number in ids]
    rule = f"*nat\n-I OUTPUT -p tcp -m owner --{kind}-owner 2345 -j ACCEPT\nCOMMIT\n"
    add_foreign_rules(mesh.facet(ForeignPrograms), pod, mesh.family, rule)

    odd = pod.owners_not_taking(Route.SIDECAR_OUTBOUND, mesh.server, 8080, owners)
    assert odd == [owner for owner in owners if 2345 in owner]


def test_pod_that_never_answers_is_not_screened_to_the_end(mesh: NetnsMesh) -> None:
    """Catches: an implementation that drops everything makes the sweep wait for each batch."""
    pod = mesh.pod(fresh=True)
    add_foreign_rules(
        mesh.facet(ForeignPrograms), pod, mesh.family, "*filter\n-I OUTPUT -p tcp -j DROP\nCOMMIT\n"
    )
    before = mesh.observed

    every = [Address(pod.address, port) for port in range(1, 65536)]
    assert pod.not_taking(Route.DIRECT, every) == every
    assert mesh.observed - before < 100


@pytest.mark.parametrize("check_id", SWEEPS)
def test_sweep_finds_the_one_port_with_another_route(check_id: str) -> None:
    """Catches: an exhaustive sweep skips a port, or trusts its first packet wrongly."""
    family, rule = SWEEPS[check_id]
    check = catalogue.load()[check_id]
    with closing(NetnsBackend(OneOdd(family, rule), families=(4, 6), timeout_s=5.0)) as backend:
        for exhaustive, expected in ((False, Outcome.PASS), (True, Outcome.FAIL)):
            with closing(backend.mesh(family, VARIANT, exhaustive=exhaustive)) as mesh:
                row = decide(check, Variant(backend.name, VARIANT, family), mesh).row
            assert row.outcome in ({expected, Outcome.WARN} if exhaustive else {expected}), row
        assert str(ODD) in row.flow
