"""A log of captured packets: packets that are expected together."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.traffic import forge
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.packet import Packet, parsed
from pytest_fsmredir.traffic.tap import PacketLog

HERE, THERE = "192.0.2.1", "198.51.100.2"
GRE, ESP = 47, 50


class Queue(PacketLog):
    """A log of the packets that a socket receives."""

    def _drain(self, sock: socket.socket) -> Iterator[Packet]:
        while True:
            try:
                yield parsed(sock.recv(2048))
            except BlockingIOError:
                return


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(Engine()) as made:
        yield made


def packet(number: int, **fields: int) -> Packet:
    """Return a packet; those of all protocols have the same addresses and content."""
    return forge.ip(HERE, THERE, number, b"the same content", hops=fields.get("hops", 64))


def compare(engine: Engine, sent: Iterable[Packet], seen: Iterable[Packet]) -> None:
    """Expect the sent packets in a log of the seen ones."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.setblocking(False)
    with left, right:
        for each in seen:
            left.send(each.raw)
        log = Queue([right], "in the queue", engine, 0.01)
        log.expect_all_unchanged([(f"protocol {each.number}", each) for each in sent])
        assert log.packets() == []


def test_packets_in_any_order(engine: Engine) -> None:
    """Catches: a packet counts as changed because one of another protocol arrived before it."""
    gre, esp = packet(GRE), packet(ESP)

    compare(engine, [gre, esp], [esp, packet(forge.SCTP), gre, packet(forge.SCTP)])


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([packet(GRE)], "expected protocol 50 in the queue"),
        ([packet(GRE), packet(ESP, hops=9)], "TTL 9 instead of 64"),
        ([packet(GRE), packet(GRE)], "expected protocol 50 in the queue"),
    ],
)
def test_missing_or_changed_packet(engine: Engine, seen: list[Packet], said: str) -> None:
    """Catches: one packet counts for two, or a change of its header is not seen."""
    with pytest.raises(Unmet) as caught:
        compare(engine, [packet(GRE), packet(ESP)], seen)
    assert said in repr(caught.value.claim)
