"""The kubelet's probes at a sidecar and at a health responder, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pytest_fsmredir.agent.pod import ContainerHost
from pytest_fsmredir.agent.users import OwnedSockets
from pytest_fsmredir.model.flow import Acceptance, Address, Direction, Flow
from pytest_fsmredir.reference_mesh.sidecar import ForgetfulEngine
from pytest_fsmredir.traffic.probes import health_responder, sidecar_probes
from pytest_fsmredir.traffic.services import Listener, Serve, answer
from pytest_fsmredir.traffic.stream import Stream

ANY_PORT = Address("127.0.0.1", 0)
WITHIN_S = 5.0


class Loopback:
    """A host and its listeners."""

    def __init__(self, undo: ExitStack) -> None:
        self.engine = ForgetfulEngine()
        self.host = ContainerHost(self.engine, OwnedSockets(), WITHIN_S)
        self._undo = undo
        undo.callback(self.engine.close)

    def listen(self, serve: Serve = answer) -> Listener:
        listener = self.host.listen(ANY_PORT, serve=serve)
        self._undo.callback(listener.close)
        return listener

    def sidecar(self) -> Listener:
        return self.listen(sidecar_probes(self.host))

    def free_port(self) -> int:
        """Return a port without a listener."""
        listener = self.host.listen(ANY_PORT)
        listener.close()
        return listener.address.port

    def ask(self, listener: Listener, said: str) -> str:
        """Send text to a listener, and return all it answers until it closes."""
        answered = bytearray()
        stream = self.host.stream(Flow(Direction.OUTBOUND, listener.address))
        assert stream is not None
        stream.on_data = answered.extend
        stream.send(said.encode())
        assert self.engine.pump(lambda: stream.ended or b"echo me" in answered, WITHIN_S)
        stream.close()
        return answered.decode()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with ExitStack() as undo:
        yield Loopback(undo)


def application(heard: list[bytes]) -> Serve:
    """Return a service that answers every request with a fixed response."""

    def serve(stream: Stream, acceptance: Acceptance) -> None:
        def hear(data: bytes) -> None:
            heard.append(data)
            stream.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            stream.finish()

        del acceptance
        stream.on_data = hear

    return serve


def probe(**headers: object) -> str:
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    return f"GET /fsm-healthcheck HTTP/1.1\r\nHost: pod\r\n{lines}\r\n"


def test_http_probe_reaches_the_application_unchanged(loopback: Loopback) -> None:
    """Catches: a request for the sidecar's path, or a lost answer of the application."""
    heard: list[bytes] = []
    app = loopback.listen(application(heard))
    sidecar = loopback.sidecar()
    headers = {"Original_Http_Port": app.address.port, "Original_Http_Path": "/ready?x=1"}
    answered = loopback.ask(sidecar, probe(X_Own="kept", **headers))

    assert answered.startswith("HTTP/1.1 503 Busy")
    assert heard[0].startswith(b"GET /ready?x=1 HTTP/1.1\r\n")
    assert b"X-Own: kept" in heard[0]
    assert b"Original-" not in heard[0]


def test_http_probe_of_a_dead_application_fails(loopback: Loopback) -> None:
    """Catches: a pod that counts as ready because its sidecar is ready."""
    sidecar = loopback.sidecar()
    answered = loopback.ask(sidecar, probe(Original_Http_Port=loopback.free_port()))

    assert answered.startswith("HTTP/1.1 502 ")


@pytest.mark.parametrize("port", ["", "http", "0", "70000"])
def test_probe_without_a_port_is_refused(loopback: Loopback, port: str) -> None:
    """Catches: a probe that goes to an arbitrary port."""
    sidecar = loopback.sidecar()

    assert loopback.ask(sidecar, probe(Original_Http_Port=port)).startswith("HTTP/1.1 400 ")


def test_health_responder(loopback: Loopback) -> None:
    """Catches: a TCP probe that does not test the application's port."""
    app = loopback.listen()
    health = loopback.listen(health_responder(loopback.host, 0))
    closed = loopback.free_port()
    live = loopback.ask(health, probe(Original_Tcp_Port=app.address.port))
    dead = loopback.ask(health, probe(Original_Tcp_Port=closed))
    lost = loopback.ask(health, probe())

    assert live.startswith("HTTP/1.1 200 ")
    assert dead.startswith("HTTP/1.1 404 ")
    assert dead.endswith(f"Failed to establish connection to 127.0.0.1:{closed}\n")
    assert lost.startswith("HTTP/1.1 400 ")
    assert lost.endswith("Header Original-Tcp-Port not found in request\n")


def test_client_without_http_gets_the_banner(loopback: Loopback) -> None:
    """Catches: a check that cannot tell which program listens on a probe port."""
    sidecar = loopback.sidecar()
    answered = loopback.ask(sidecar, "echo me")

    assert answered.startswith("fsmredir ")
    assert answered.endswith("\necho me")
