"""Test the real Pipy as the sidecar; FSM_PIPY_BIN names its binary (1.5; tested: 1.5.18)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.programs import default_variant, start_inside
from pytest_fsmredir.backends.netns.wiring import CLIENT, SERVER
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.reference import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptor, Address, Direction, Fate, Flow
from pytest_fsmredir.model.reserved import ADMIN_PORT, OUTBOUND_PORT, SERVED_PORTS
from pytest_fsmredir.sidecars.pipy import Pipy, PipySidecar
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.host import Host

BINARY = os.environ.get("FSM_PIPY_BIN", "")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not BINARY, reason="FSM_PIPY_BIN does not name a Pipy binary"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

EXCLUDED = 6379
TIMEOUT_S = 5.0
PAYLOAD = bytes(range(256)) * (8 * 1024 * 1024 // 256)
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FORWARDED_FROM = {4: "127.0.0.6", 6: "::1"}
ROOT = Path(__file__).parents[2]
MAKE_AND_WAIT = """
from contextlib import ExitStack
from tests.kernel.test_pipy import make
make(ExitStack())
print("made", flush=True)
input()
"""
PARENT = (sys.executable, "-c", MAKE_AND_WAIT)


@dataclass
class Pod:
    """A pod that the reference programs and that runs Pipy, with the world around it."""

    backend: NetnsBackend
    pipy: Pipy
    host: Host
    sidecar: PipySidecar
    addresses: dict[int, str]

    def dial(self, address: str, port: int = 8080, *, uid: int = 1000) -> Connection:
        """Dial from inside."""
        return self.host.open(Flow(Direction.OUTBOUND, Address(address, port), uid=uid))

    def dial_in(self, family: int, port: int) -> Connection:
        """Dial from outside."""
        flow = Flow(Direction.INBOUND, Address(self.addresses[family], port))
        return self.backend.outside.open(flow, Dial(source=Address(CLIENT[family], 0)))

    def fate(self, address: str, port: int = 8080, *, uid: int = 1000) -> Fate:
        """Dial from inside, close the connection, and return the fate."""
        with closing(self.dial(address, port, uid=uid)) as connection:
            return connection.fate


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with ExitStack() as undo:
        yield make(undo)


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def forwarding(pod: Pod) -> Iterator[PipySidecar]:
    pod.sidecar.forwarding = True
    yield pod.sidecar
    pod.sidecar.forwarding = False


@pytest.fixture(scope="module", autouse=True)
def servers(pod: Pod) -> Iterator[None]:
    """Servers outside the pod and in the application."""
    with ExitStack() as undo:
        for family in (4, 6):
            for port in (8080, EXCLUDED):
                undo.callback(pod.backend.outside.listen(Address(SERVER[family], port)).close)
            undo.callback(pod.host.listen(Address(LOOPBACK[family], 8080), uid=1000).close)
        yield


def make(undo: ExitStack) -> Pod:
    """Make a world with a pod whose sidecar is Pipy."""
    backend = undo.enter_context(
        closing(NetnsBackend(Reference(), families=(4, 6), timeout_s=TIMEOUT_S))
    )
    script = layout.fixtures() / "sidecar" / "recorder.js"
    pipy = undo.enter_context(closing(Pipy(Path(BINARY), script, backend.outside.engine)))
    return add_pod(undo, backend, pipy)


def add_pod(undo: ExitStack, backend: NetnsBackend, pipy: Pipy) -> Pod:
    """Make one more pod."""
    annotations = {"flomesh.io/outbound-port-exclusion-list": str(EXCLUDED)}
    site = backend.new_site(Configuration(annotations), second_interface=False)
    undo.callback(site.close)
    site.sidecar.stop()
    assert backend.program(site, default_variant(), backend.confinement).accepted
    sidecar = PipySidecar(
        pipy, site.host, (4, 6), set(site.addresses), partial(start_inside, site.namespace)
    )
    sidecar.start()
    undo.callback(sidecar.stop)
    addresses = {Address(host, 0).family: host for host in site.addresses}
    return Pod(backend, pipy, site.host, sidecar, addresses)


def processes() -> dict[int, str]:
    """Return the status of every Pipy that runs our script, by process id."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            environment = status.with_name("environ").read_bytes()
            if b"FSM_ORDERS=" in environment and not status.read_text().startswith("Name:\tsh\n"):
                found[int(status.parent.name)] = status.read_text()
        except OSError:
            continue  # the process has ended meanwhile
    return found


def acceptors(fate: Fate) -> list[Acceptor]:
    return [acceptance.by for acceptance in fate.path]


def test_outbound_is_captured(pod: Pod, family: int) -> None:
    """Catches: a record lacks the original destination, as Pipy's own does for IPv6."""
    fate = pod.fate(SERVER[family])

    assert fate.captured_outbound
    assert acceptors(fate) == [Acceptor.SIDECAR_OUTBOUND]


@pytest.mark.parametrize(
    "destination",
    [
        "3f00:0:0:3:8000::",
        "2001:db8:0:1:1:1:1:1",
        "2001:db8::1:0:0:1",
        "2001:0:0:1::",
        "2001:db8::",
    ],
)
def test_ipv6_destination_is_formatted_by_rfc_5952(pod: Pod, destination: str) -> None:
    """Catches: Pipy's text 3f00:::3:8000:: counts as another destination (issue 12)."""
    assert pod.fate(destination).captured_outbound


def test_urgent_data_is_read(pod: Pod, family: int) -> None:
    """Catches: the rules fail because Pipy does not read urgent bytes (issue 12)."""
    with closing(pod.dial(SERVER[family])) as connection:
        connection.send(b"!", urgent=True)
        connection.send(b"and after")
        assert connection.finish(within_s=TIMEOUT_S)
        assert connection.received == b"!and after"


def test_inbound_is_captured(pod: Pod, family: int) -> None:
    """Catches: a record has the wrong client address."""
    with closing(pod.dial_in(family, 9999)) as connection:
        fate = connection.fate

    assert fate.captured_inbound
    assert fate.path[0].peer == fate.client


def test_excluded_port_is_direct(pod: Pod, family: int) -> None:
    """Catches: the sidecar accepts excluded flows."""
    assert pod.fate(SERVER[family], EXCLUDED).direct


def test_own_uid_is_direct(pod: Pod, family: int) -> None:
    """Catches: the sidecar's own flows are captured."""
    assert pod.fate(SERVER[family], uid=1500).direct


@pytest.mark.usefixtures("forwarding")
def test_outbound_is_forwarded_once(pod: Pod, family: int) -> None:
    """Catches: the flow loops, or the log has the origin first."""
    for _ in range(100):
        fate = pod.fate(SERVER[family])

        assert fate.captured_outbound
        assert acceptors(fate) == [Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN]
        assert fate.path[1].peer.host == pod.addresses[family]


@pytest.mark.usefixtures("forwarding")
def test_inbound_is_forwarded_to_loopback(pod: Pod, family: int) -> None:
    """Catches: the application is not reached, or sees another peer than with FSM."""
    with closing(pod.dial_in(family, 8080)) as connection:
        fate = connection.fate

    assert fate.captured_inbound
    assert acceptors(fate) == [Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN]
    assert fate.path[1].local == Address(LOOPBACK[family], 8080)
    assert fate.path[1].peer.host == FORWARDED_FROM[family]


@pytest.mark.usefixtures("forwarding")
def test_closed_upstream_ends_the_flow(pod: Pod, family: int) -> None:
    """Catches: a client waits for ever when the server does not listen."""
    fate = pod.fate(SERVER[family], 81)

    assert fate.lost == "closed"
    assert acceptors(fate) == [Acceptor.SIDECAR_OUTBOUND]


@pytest.mark.usefixtures("forwarding")
def test_flow_to_the_listener_itself_is_not_forwarded(pod: Pod, family: int) -> None:
    """Catches: the sidecar dials itself until it runs out of descriptors."""
    fate = pod.fate(pod.addresses[family], OUTBOUND_PORT)

    assert fate.lost == "closed"
    assert acceptors(fate) == [Acceptor.SIDECAR_OUTBOUND]


@pytest.mark.usefixtures("forwarding")
def test_sidecars_in_a_row_are_recorded_in_order(pod: Pod, family: int) -> None:
    """Catches: records of two processes are sorted by reading and not by time."""
    with ExitStack() as undo:
        other = add_pod(undo, pod.backend, pod.pipy)
        other.sidecar.forwarding = True
        undo.callback(other.host.listen(Address(LOOPBACK[family], 8080), uid=1000).close)
        for first, second in ((pod, other), (other, pod)):
            fate = first.fate(second.addresses[family])

            assert acceptors(fate) == [
                Acceptor.SIDECAR_OUTBOUND,
                Acceptor.SIDECAR_INBOUND,
                Acceptor.ORIGIN,
            ]


def test_service_is_forwarded_to_its_endpoint(pod: Pod, forwarding: PipySidecar) -> None:
    """Catches: Pipy ignores the order to use an endpoint."""
    service = "10.96.0.10"
    forwarding.services = {service: SERVER[4]}
    try:
        fate = pod.fate(service)
    finally:
        forwarding.services = {}

    assert [a.destination for a in fate.path] == [Address(service, 8080), Address(SERVER[4], 8080)]


@pytest.mark.usefixtures("forwarding")
def test_large_payload_and_half_close_pass(pod: Pod, family: int) -> None:
    """Catches: bytes are lost or changed, or a half-close becomes a full close."""
    for connection in (pod.dial(SERVER[family]), pod.dial_in(family, 8080)):
        with closing(connection):
            assert connection.exchange(PAYLOAD, within_s=30) == PAYLOAD
            assert connection.finish(within_s=TIMEOUT_S)


def test_ports_that_are_not_redirected(pod: Pod, family: int) -> None:
    """Catches: the wrong listener answers a probe."""
    names = [by.name for by in (Acceptor.METRICS, Acceptor.LIVENESS, Acceptor.READINESS)]
    names += [Acceptor.STARTUP.name, Acceptor.HEALTH.name]
    for port, name in zip(SERVED_PORTS, names, strict=True):
        with closing(pod.dial_in(family, port)) as connection:
            assert connection.fate.reached(Acceptor[name])
    assert pod.fate(LOOPBACK[family], ADMIN_PORT).reached(Acceptor.ADMIN)


@pytest.mark.usefixtures("pod")
def test_runs_as_the_sidecar_user_without_capabilities() -> None:
    """Catches: the sidecar needs rights that FSM does not give it."""
    (status,) = processes().values()

    assert "Uid:\t1500\t1500\t1500\t1500" in status
    assert "Gid:\t0\t0\t0\t0" in status
    assert "CapEff:\t0000000000000000" in status


def test_stopped_sidecar_refuses(pod: Pod, family: int) -> None:
    """Catches: the process outlives its stop, or its ports are not free for the next."""
    pod.sidecar.stop()
    try:
        assert pod.fate(SERVER[family]).refused
        assert not processes()
    finally:
        pod.sidecar.start()
    assert pod.fate(SERVER[family]).captured_outbound


def test_death_of_pipy_is_our_error() -> None:
    """Catches: a crash of Pipy counts as a failure of the implementation."""
    others = processes()
    with ExitStack() as undo:
        pod = make(undo)
        (process,) = processes().keys() - others
        os.kill(process, signal.SIGKILL)
        with pytest.raises(BackendError, match="pipy-1 has ended by itself"):
            pod.host.engine.pump(lambda: False, TIMEOUT_S)
        with pytest.raises(BackendError, match="pipy-1 has ended by itself"):
            pod.fate(SERVER[4])


def test_dies_with_its_keeper() -> None:
    """Catches: Pipy stays when the shell that supervises it is killed."""
    others = processes()
    with ExitStack() as undo:
        make(undo)
        (process,) = processes().keys() - others
        gone = os.pidfd_open(process)
        os.kill(os.getsid(process), signal.SIGKILL)

        assert select.select([gone], [], [], TIMEOUT_S)[0]
        os.close(gone)


def test_dies_with_its_parent() -> None:
    """Catches: a killed test run leaves Pipy behind."""
    others = processes()
    with subprocess.Popen(
        PARENT, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"made\n"
        (process,) = processes().keys() - others
        gone = os.pidfd_open(process)
        parent.kill()

    assert select.select([gone], [], [], TIMEOUT_S)[0]
    os.close(gone)
