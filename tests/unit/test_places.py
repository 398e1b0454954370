"""Arguments of a place's methods: valid addresses and ports, on every backend."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn, get_type_hints

import pytest

from pytest_fsmredir.agent.dialling import dial_form, dial_of
from pytest_fsmredir.backends.places import BasePlace, remote_subnet, without_loop
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Direction,
    Fate,
    Flow,
    Protocol,
)
from pytest_fsmredir.traffic.dial import Dial, Dialling


class Nowhere(BasePlace):
    """A place that records its calls and does nothing."""

    def __init__(self) -> None:
        mesh = SimpleNamespace(family=4, undo=ExitStack(), observed=0, watch=lambda *_: None)
        super().__init__(mesh, "10.0.0.1", 1000)
        self.done: list[Address | None] = []

    def _answerer(self, host: str) -> BasePlace:
        self.done.append(Address(host, 0))
        return self

    def _answer_tcp(self, port: int) -> None:
        del port

    def _open(self, flow: Flow, dial: Dial, *, keep: bool) -> NoReturn:
        del keep
        self.done += [flow.destination, dial.source]
        raise NotImplementedError

    def _open_all(self, flows: Iterable[Flow], dial: Dial) -> Iterator[Fate]:
        self.done += [*(flow.destination for flow in flows), dial.source]
        return iter(())

    def _send(self, flow: Flow, dial: Dial, payload: bytes) -> NoReturn:
        del payload
        self.done += [flow.destination, dial.source]
        raise NotImplementedError

    def _ping(self, flow: Flow, payload: bytes) -> NoReturn:
        del payload
        self.done.append(flow.destination)
        raise NotImplementedError

    def _hear(self, protocol: Protocol, address: Address, uid: int) -> Callable[[], None]:
        del protocol, uid
        self.done.append(address)
        return lambda: None


NAME = "db.example.com"
NO_ADDRESS = f"'{NAME}' is not an IP address"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda place: place.connect(NAME, 80), NO_ADDRESS),
        (lambda place: place.open("localhost", 80), "'localhost' is not an IP address"),
        (lambda place: place.connect("", 80), "'' is not an IP address"),
        (lambda place: place.connect("127.1", 80), r"'127\.1' is not an IP address"),
        (lambda place: place.datagram(NAME, 53), NO_ADDRESS),
        (lambda place: place.ping(NAME), NO_ADDRESS),
        (lambda place: list(place.connect_all(NAME, [80])), NO_ADDRESS),
        (lambda place: place.listen(80, host=NAME), NO_ADDRESS),
        (lambda place: place.connect("10.0.0.2", 80, source=(NAME, 0)), NO_ADDRESS),
        (lambda place: place.datagram("10.0.0.2", 53, source=(NAME, 0)), NO_ADDRESS),
        (lambda place: place.connect("10.0.0.2", 80, source=NAME), "is not an address with a port"),
        (lambda place: place.listen(99999), "99999 is not a port"),
        (lambda place: place.connect("10.0.0.2", -1), "-1 is not a port"),
        (lambda place: place.connect("10.0.0.2", "80"), "'80' is not a port"),
        (lambda place: place.connect("::2", 80, source=("::1", 65536)), "65536 is not a port"),
    ],
)
def test_invalid_address_is_refused_first(call: Callable[[Any], object], words: str) -> None:
    """Catches: a name that pytest's process resolves, so that traffic leaves the namespaces."""
    place = Nowhere()
    with pytest.raises(BackendError, match=words):
        call(place)
    assert place.done == []


@pytest.mark.parametrize("host", ["10.0.0.2", "127.0.0.1", "2001:db8::2", "fe80::1%eth0"])
@pytest.mark.parametrize("port", [0, 65535])
def test_every_address_and_port_can_be_dialled(host: str, port: int) -> None:
    """Catches: a check that may not send what the kernel would send."""
    place = Nowhere()
    with pytest.raises(NotImplementedError):
        place.connect(host, port, source=Address(host, port))
    assert place.done[1:] == [(host, port)] * 2


class Looping(Nowhere):
    """A place whose flows pass the sidecar many times."""

    def _open_all(self, flows: Iterable[Flow], dial: Dial) -> Iterator[Fate]:
        del dial
        for flow in flows:
            self.done.append(flow.destination)
            hops = (Acceptance(n, SIDECAR, flow.destination, flow.destination) for n in range(3))
            yield Fate(flow, None, tuple(hops))


SIDECAR = Acceptor.SIDECAR_OUTBOUND


def test_first_loop_fails_the_check_at_once() -> None:
    """Catches: a sweep that starts a loop for each of its ports, and exceeds its timeouts."""
    place = Looping()
    with pytest.raises(Unmet, match=r"at most once.*which loops: it passed the sidecar 3 times"):
        list(place.connect_all("10.0.0.9", [1, 2, 3]))

    assert place.done == [Address("10.0.0.9", 1)]


def test_two_sidecars_on_the_way_are_not_a_loop() -> None:
    """Catches: a flow between two pods, or of a pod to itself, reported as a loop."""
    to = Address("10.0.0.9", 80)
    by = (SIDECAR, Acceptor.SIDECAR_INBOUND, Acceptor.ORIGIN, Acceptor.ORIGIN)
    path = tuple(Acceptance(n, each, to, to) for n, each in enumerate(by))

    assert without_loop(Fate(Flow(Direction.OUTBOUND, to), None, path)).path == path


def test_keywords_of_a_flow_are_the_attributes_of_its_value() -> None:
    """Catches: a keyword that a place accepts and ignores, or that mypy does not know."""
    assert get_type_hints(Dialling) == get_type_hints(Dial)


def reuse_port(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def test_value_survives_its_way_to_an_agent() -> None:
    """Catches: an attribute that the agent in a pod does not receive."""
    sent = Dial(
        uid=1500, source=Address("10.0.0.2", 0), answer=False, prepare=reuse_port, gid=7,
        interface="net1", mapped=True,
    )  # fmt: skip
    received = dial_of(json.loads(json.dumps(dial_form(sent))))

    assert replace(received, prepare=reuse_port) == sent
    assert received.prepare is not None
    with socket.socket() as sock:
        received.prepare(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def test_default_value_is_empty_for_an_agent() -> None:
    """Catches: commands that repeat what both ends know."""
    assert dial_form(Dial()) == {}
    assert dial_of(None) == Dial()


def test_range_of_a_number_is_made_once() -> None:
    """Catches: a list of thousands of addresses for which each range is parsed again."""
    assert remote_subnet(4, 40) is remote_subnet(4, 40)
    assert str(remote_subnet(6, 40)) == "2001:db8:38::/120"
