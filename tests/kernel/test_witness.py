"""Compare the witness with the recorder's log, in pods on this kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import pytest

from pytest_fsmredir.agent.users import owner
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.programs import default_variant
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.wiring import CLIENT, SERVER
from pytest_fsmredir.implementations.base import Implementation
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Direction, Flow
from pytest_fsmredir.model.reserved import ADMIN_PORT, SIDECAR_UID
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.sockettable import SocketTable
from pytest_fsmredir.traffic.witness import Question, Sighting, WitnessScope, look
from tests.neutral.judged import command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

EXCLUDED = 6379
MANY = 500
IMPLEMENTATIONS: dict[str, Implementation] = {
    "redirect": Reference(),
    "tproxy inbound": InitCommand(command("tproxy")),
}


@dataclass
class Pod:
    """A programmed pod with our recorder."""

    backend: NetnsBackend
    site: Sandbox
    family: int

    @property
    def address(self) -> str:
        return next(a for a in self.site.addresses if Address(a, 0).family == self.family)

    def dial(self, port: int, uid: int = 1000, source: Address | None = None) -> Connection:
        """Dial the server from inside."""
        flow = Flow(Direction.OUTBOUND, Address(SERVER[self.family], port), uid=uid)
        # An accepted socket belongs to the user who accepts it.
        with owner(SIDECAR_UID, SIDECAR_UID):
            return self.site.host.open(flow, Dial(source=source))

    def dial_in(self, port: int, source_port: int = 0) -> Connection:
        """Dial the pod from outside."""
        flow = Flow(Direction.INBOUND, Address(self.address, port))
        with owner(SIDECAR_UID, SIDECAR_UID):
            source = Address(CLIENT[self.family], source_port)
            return self.backend.outside.open(flow, Dial(source=source))

    def witnessed(self, connection: Connection, *, tracking: bool = True) -> Sighting:
        """Return what the tables of the pod show of a connection."""
        table = self.site.namespace.run(SocketTable.read)
        if not tracking:
            table = replace(table, conntrack=None)
        assert connection.client is not None
        asked = Question(connection.client, connection.flow.destination, connection.connected)
        return look(WitnessScope(table, frozenset(self.site.addresses)), asked)


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def site(request: pytest.FixtureRequest) -> Iterator[tuple[NetnsBackend, Sandbox]]:
    implementation = IMPLEMENTATIONS[request.param]
    lists = ("outbound-port-exclusion-list", "inbound-port-exclusion-list")
    annotations = {f"flomesh.io/{name}": str(EXCLUDED) for name in lists}
    with programmed(implementation, Configuration(annotations), (4, 6)) as made:
        yield made


@contextmanager
def programmed(
    implementation: Implementation, configuration: Configuration, families: tuple[int, ...]
) -> Iterator[tuple[NetnsBackend, Sandbox]]:
    """Make a pod and program it."""
    with closing(NetnsBackend(implementation, families=families, timeout_s=5.0)) as backend:
        made = backend.new_site(configuration, second_interface=False)
        with closing(made):
            programming = backend.program(made, default_variant(), backend.confinement)
            assert programming.accepted, programming
            yield backend, made


@pytest.mark.parametrize("tracking", [True, False])
def test_admin_interface_is_seen_behind_fsms_dnat(tracking: bool) -> None:
    """Catches: in PodIP mode the admin interface's acceptance is not seen (issue 12)."""
    implementation = InitCommand(command("fsm_current.sh PodIP"))
    with ExitStack() as undo:
        backend, site = undo.enter_context(programmed(implementation, Configuration(), (4,)))
        pod = Pod(backend, site, 4)
        place = Address(pod.address, ADMIN_PORT)
        undo.callback(site.host.listen(place, uid=SIDECAR_UID).close)
        flow = Flow(Direction.OUTBOUND, Address("127.0.0.1", ADMIN_PORT), uid=SIDECAR_UID)
        with owner(SIDECAR_UID, SIDECAR_UID):
            connection = undo.enter_context(site.host.open(flow))

        (seen,) = pod.witnessed(connection, tracking=tracking).accepted
        assert (seen.by, seen.local, seen.destination) == (
            Acceptor.ADMIN, place, flow.destination,
        )  # fmt: skip


@pytest.fixture(params=[4, 6])
def pod(site: tuple[NetnsBackend, Sandbox], request: pytest.FixtureRequest) -> Pod:
    return Pod(*site, request.param)


def unnumbered(accepted: tuple[Acceptance, ...]) -> list[Acceptance]:
    return [replace(each, serial=0) for each in accepted]


@pytest.mark.parametrize("tracking", [True, False])
def test_witness_agrees_with_the_log(pod: Pod, tracking: bool) -> None:
    """Catches: the fate by the tables differs from the fate by the sidecar's record."""
    with pod.dial(8080) as leaving, pod.dial_in(8080) as entering:
        for connection in (leaving, entering):
            (logged,) = unnumbered((connection.answered_by,) if connection.answered_by else ())
            (seen,) = unnumbered(pod.witnessed(connection, tracking=tracking).accepted)
            ends = (seen.by, seen.local, seen.peer, seen.destination)
            assert ends == (logged.by, logged.local, logged.peer, logged.destination)


def test_excluded_flow_is_not_seen_at_the_sidecar(pod: Pod) -> None:
    """Catches: a direct flow counts as captured."""
    with ExitStack() as held:
        held.enter_context(listening(pod))
        leaving, entering = (
            held.enter_context(pod.dial(EXCLUDED)),
            held.enter_context(pod.dial_in(EXCLUDED)),
        )
        of_sidecar = held.enter_context(pod.dial(8081, uid=1500))
        assert pod.witnessed(leaving).accepted == ()
        assert pod.witnessed(of_sidecar).accepted == ()
        assert [each.by for each in pod.witnessed(entering).accepted] == [Acceptor.ORIGIN]


def test_concurrent_flows_are_distinguished(pod: Pod) -> None:
    """Catches: the row of one client is taken for another's."""
    with ExitStack() as held:
        opened = [held.enter_context(pod.dial(8080 + n % 7)) for n in range(MANY)]
        table = pod.site.namespace.run(SocketTable.read)
        scene = WitnessScope(table, frozenset(pod.site.addresses))
        for each in opened:
            assert each.client is not None
            (seen,) = look(scene, Question(each.client, each.flow.destination, True)).accepted
            assert seen.destination == each.flow.destination
            assert each.answered_by is not None
            assert seen.peer == each.answered_by.peer


def test_changed_source_port_is_followed(pod: Pod) -> None:
    """Catches: two flows of one source port are confused when NAT changes the port of one."""
    with pod.dial_in(8080, 20001) as one, pod.dial_in(8081, 20001) as other:
        for connection in (one, other):
            (seen,) = pod.witnessed(connection).accepted
            assert seen.by is Acceptor.SIDECAR_INBOUND
            assert seen.destination == connection.flow.destination
            assert connection.answered_by is not None
            assert seen.peer == connection.answered_by.peer


def test_refusal_is_not_an_acceptance(pod: Pod) -> None:
    """Catches: a sidecar that is down counts as having accepted."""
    pod.site.sidecar.stop()
    try:
        with pod.dial(8080) as refused:
            sighting = pod.witnessed(refused)
    finally:
        pod.site.sidecar.start()

    assert refused.lost == "refused"
    assert sighting.accepted == ()


def test_flow_that_was_reset_is_still_known(pod: Pod) -> None:
    """Catches: a flow is unknown because the sidecar ended before the witness looked."""
    with pod.dial(8080) as connection:
        pod.site.sidecar.stop()  # resets the connection
        try:
            assert pod.site.host.engine.pump(lambda: connection.ended, 5.0)
            sighting = pod.witnessed(connection)
        finally:
            pod.site.sidecar.start()

    assert connection.lost == "reset"
    assert [each.by for each in sighting.accepted] == [Acceptor.SIDECAR_OUTBOUND]


@contextmanager
def listening(pod: Pod) -> Iterator[None]:
    """Listen at the destinations of flows that are not captured."""
    with ExitStack() as undo:
        for port in (EXCLUDED, 8081):
            undo.callback(pod.backend.outside.listen(Address(SERVER[pod.family], port)).close)
        own = pod.site.host.listen(Address(pod.address, EXCLUDED), uid=1000)
        undo.callback(own.close)
        yield
