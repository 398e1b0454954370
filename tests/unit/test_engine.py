"""The event loop: an answer that is ready counts, even if the loop reads it late."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from pytest_fsmredir.agent.pod import ContainerHost
from pytest_fsmredir.agent.users import OwnedSockets
from pytest_fsmredir.model.flow import Address, Direction, Flow
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.engine import READABLE, Engine

_TO = Flow(Direction.OUTBOUND, Address("127.0.0.1", 9))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(Engine()) as engine:
        yield engine


def test_answer_that_is_ready_counts_after_the_deadline(engine: Engine) -> None:
    """Catches: an answered flow reported as unanswered because the process got no CPU."""
    here, there = socket.socketpair()
    heard = bytearray()
    with here, there:
        engine.watch(here, READABLE, lambda _: heard.extend(here.recv(16)))
        there.send(b"!")

        assert engine.pump(lambda: bool(heard), within_s=0)


def test_flow_that_never_ends_does_not_hold_up_the_run(engine: Engine) -> None:
    """Catches: a socket that is always ready and keeps the loop running after the deadline."""
    here, there = socket.socketpair()
    with here, there:
        engine.watch(here, READABLE, lambda _: None)
        there.send(b"!")

        assert not engine.pump(lambda: False, within_s=0)


def test_late_acceptance_of_an_earlier_flow_is_not_in_the_path(engine: Engine) -> None:
    """Catches: a late acceptance of an abandoned flow that adds a second hop to the next flow."""
    host = ContainerHost(engine, OwnedSockets(), timeout_s=5.0)
    with closing(host.listen(Address("127.0.0.1", 0))) as listener:
        at = listener.address
        late = socket.create_connection((at.host, at.port))
        with late, host.open(Flow(Direction.OUTBOUND, at)) as connection:
            assert len(connection.path) == 1
    assert len(engine.log) == 2


def test_forgotten_log_gives_no_serial_twice(engine: Engine) -> None:
    """Catches: a long search whose log grows with each flow, or two acceptances of one serial."""
    host = ContainerHost(engine, OwnedSockets(), timeout_s=5.0)
    serials = []
    with closing(host.listen(Address("127.0.0.1", 0))) as listener:
        for _ in range(3):
            with host.open(Flow(Direction.OUTBOUND, listener.address)) as connection:
                serials += [hop.serial for hop in connection.path]
                assert connection.answered_by == connection.path[0]
            engine.forget_log()
    assert serials == [0, 1, 2]
    assert engine.log == []


def _fail(sock: socket.socket) -> None:
    raise ZeroDivisionError(sock)


@pytest.mark.parametrize(
    "call",
    [
        lambda host: host.listen(Address("127.0.0.1", 99999)),
        lambda host: host.listen_datagrams(Address("127.0.0.1", 99999)),
        lambda host: host.open(_TO, Dial(source=Address("127.0.0.1", 99999))),
        lambda host: host.open(_TO, Dial(prepare=_fail)),
        lambda host: list(host.connect_all([_TO, replace(_TO, destination=Address("::1", -1))])),
    ],
)
def test_socket_that_cannot_be_used_is_closed(
    engine: Engine, call: Callable[[ContainerHost], object]
) -> None:
    """Catches: a socket left open by an error other than OSError, with a later warning."""
    made: list[socket.socket] = []
    owned = OwnedSockets()

    def sockets(*how: int, **owner: int) -> socket.socket:
        made.append(owned(*how, **owner))
        return made[-1]

    with pytest.raises((OverflowError, ZeroDivisionError)):
        call(ContainerHost(engine, sockets, timeout_s=5.0))
    assert made
    assert all(sock.fileno() == -1 for sock in made)


@pytest.mark.parametrize("late", [False, True])
def test_sweep_tells_fates_apart(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Catches: a sweep that confuses its flows, or takes a late answer for none."""
    host = ContainerHost(engine, OwnedSockets(), timeout_s=0.2)
    at = Address("127.0.0.1", 0)
    refusing = host.listen(at)
    refusing.close()
    with (
        closing(host.listen(at)) as plain,
        closing(host.listen(at, serve=lambda stream, _: stream.close())) as closing_at_once,
        closing(host.listen(at, serve=lambda *_: None)) as silent,
    ):
        if late:  # no answer has arrived at the first look
            monkeypatch.setattr(engine, "settle", lambda: None)
        there = (plain, closing_at_once, refusing, silent, plain)
        flows = [Flow(Direction.OUTBOUND, listener.address) for listener in there]
        fates = list(host.connect_all(flows))
    assert [fate.lost for fate in fates] == [None, "reset", "refused", "no answer", None]
    assert [fate.flow for fate in fates] == flows
    for fate in (fates[0], fates[4]):
        assert fate.accepted.local == plain.address
        assert fate.accepted.peer == fate.client


def test_port_of_an_earlier_client_can_be_listened_on(engine: Engine) -> None:
    """Catches: a check that cannot listen on a port which an earlier flow had as its source."""
    host = ContainerHost(engine, OwnedSockets(), timeout_s=5.0)
    with (
        closing(host.listen(Address("127.0.0.1", 0))) as server,
        host.open(Flow(Direction.OUTBOUND, server.address)) as connection,
    ):
        client = connection.fate.client
        assert client is not None
        # Other processes may have clients with this port on other addresses of the machine.
        host.listen(client).close()
