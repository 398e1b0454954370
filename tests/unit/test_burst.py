"""Packets that one system call sends or receives."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.traffic.burst import Burst

PACKET = 8


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A non-blocking socket of datagrams."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """A socket of datagrams."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        yield sock


def to(port: int, number: int) -> bytes:
    """Return a slot: an address of 127.0.0.1, and a packet with a number."""
    return struct.pack("=H", socket.AF_INET) + struct.pack(
        "!H4s8xQ", port, socket.inet_aton("127.0.0.1"), number
    )


def numbers(burst: Burst, sock: socket.socket) -> list[int]:
    """Return the numbers of the packets that a socket receives."""
    return [
        number for slots in burst.received(sock) for (number,) in struct.iter_unpack("!Q", slots)
    ]


def test_packets_arrive_in_order(receiver: socket.socket, sender: socket.socket) -> None:
    """Catches: a slot is sent twice or left out, or one receive call ends the reading."""
    port = receiver.getsockname()[1]
    out, back = Burst(12, name=16, packet=PACKET), Burst(5, packet=PACKET)
    out.fill([to(port, number) for number in range(12)])

    out.send(sender, range(12))
    assert numbers(back, receiver) == list(range(12))
    assert numbers(back, receiver) == []
    out.send(sender, range(3, 5))
    assert numbers(back, receiver) == [3, 4]


def test_refused_packet_is_left_out(receiver: socket.socket, sender: socket.socket) -> None:
    """Catches: an error about one packet keeps back the packets after it."""
    port = receiver.getsockname()[1]
    out, back = Burst(4, name=16, packet=PACKET), Burst(5, packet=PACKET)
    out.fill([to(each, number) for number, each in enumerate((port, 0, 0, port))])

    out.send(sender, range(4))
    assert numbers(back, receiver) == [0, 3]


def test_slot_contains_the_sender(receiver: socket.socket, sender: socket.socket) -> None:
    """Catches: the address, the ancillary data and the packet of a slot overlap."""
    back = Burst(2, name=16, control=32, packet=PACKET)
    sender.sendto(b"12345678", receiver.getsockname())

    (slots,) = back.received(receiver)
    (port, *_) = struct.unpack("!2xH4s8x", slots[:16])
    assert port == sender.getsockname()[1]
    assert bytes(slots[48:]) == b"12345678"
    assert len(slots) == back.slot


def test_broken_socket_is_an_error(sender: socket.socket) -> None:
    """Catches: an error of the harness looks like a packet that did not arrive."""
    with closing(socket.socket()) as unconnected, pytest.raises(OSError, match="ENOTCONN"):
        list(Burst(2, packet=PACKET).received(unconnected))
