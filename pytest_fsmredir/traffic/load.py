"""Loads: many connections, a long stream, many datagrams, each driven and timed by one thread.

The kernel finishes the handshake of a connection before the other side accepts it, so the time of
``connect`` is that of the kernel's path, and no second process disturbs it.
"""

from __future__ import annotations

import gc
import math
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from pytest_fsmredir.traffic.sockets import abort

Clock = Callable[[], int]
"""Returns a time in nanoseconds."""

Name = tuple[str, int]

_SO_RCVTIMEO, _SO_SNDTIMEO = socket.SO_RCVTIMEO, socket.SO_SNDTIMEO
_NS = 1_000_000_000
_CHUNK = bytes(256 * 1024)
_PAYLOAD = bytes(64)
_BURST = 32  # datagrams that fit into the smallest receive buffer


class LoadError(Exception):
    """The load met something else than it measures; the message says what."""


@dataclass(frozen=True, slots=True)
class Connections:
    """The times of some connections, made one after another.

    Attributes:
        latencies_ns: The time of each ``connect``.
        elapsed_ns: The time of all, with accepting and resetting them.
    """

    latencies_ns: tuple[int, ...]
    elapsed_ns: int

    @property
    def per_second(self) -> float:
        """New connections in a second."""
        return per_second(len(self.latencies_ns), self.elapsed_ns)


def per_second(count: int, elapsed_ns: int) -> float:
    """Return a rate; a clock that stood still counts as one nanosecond."""
    return count * _NS / max(elapsed_ns, 1)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def patient(sock: socket.socket, timeout_s: float) -> socket.socket:
    """Let the kernel wait on a socket, for a limited time, without further system calls."""
    sock.setblocking(True)
    limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
    for option in (_SO_RCVTIMEO, _SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, limit)
    return sock


def connect_one_by_one(
    clients: Sequence[socket.socket],
    to: Name,
    listener: socket.socket,
    clock: Clock = perf_counter_ns,
) -> Connections:
    """Connect each client, accept and reset its connection, and return the times.

    Args:
        clients: Unconnected, patient sockets; this closes them.
        to: Destination.
        listener: The patient socket that accepts the connections.
        clock: The clock.

    Raises:
        LoadError: A connection failed, or did not arrive at the listener.
    """
    latencies = []
    with _prepared(clients):
        begun = clock()
        for client in clients:
            before = clock()
            client.connect(to)
            latencies.append(clock() - before)
            abort(listener.accept()[0])
            abort(client)
        elapsed = clock() - begun
    return Connections(tuple(latencies), elapsed)


def first_bytes(
    clients: Sequence[socket.socket], to: Name, clock: Clock = perf_counter_ns
) -> tuple[int, ...]:
    """Return the times from the start of each connection to its first byte of data.

    Raises:
        LoadError: A connection failed, or ended without data.
    """
    found = []
    with _prepared(clients):
        for client in clients:
            before = clock()
            client.connect(to)
            data = client.recv(1)
            found.append(clock() - before)
            if not data:
                raise LoadError("a connection ended without data")
            abort(client)
    return tuple(found)


def stream(
    sender: socket.socket,
    receiver: socket.socket,
    size: int,
    timeout_s: float,
    clock: Clock = perf_counter_ns,
) -> float:
    """Send a long stream through a connection, and return its bytes in a second.

    Args:
        sender: One end of a connection.
        receiver: The other end.
        size: The number of bytes.
        timeout_s: How long the stream may stand still.
        clock: The clock.

    Raises:
        LoadError: The connection broke, or stood still.
    """
    sender.setblocking(False)
    receiver.setblocking(False)
    buffer, sent, received = bytearray(len(_CHUNK)), 0, 0
    with _prepared((sender, receiver)):
        begun = clock()
        while received < size:
            if sent < size:
                sent += _unless_full(partial(sender.send, _CHUNK[: size - sent]))
            got = _unless_full(lambda: receiver.recv_into(buffer))
            received += got
            if not got:
                _await(receiver, timeout_s)
        return per_second(received, clock() - begun)


def datagrams(
    sender: socket.socket,
    receiver: socket.socket,
    count: int,
    clock: Clock = perf_counter_ns,
) -> float:
    """Send datagrams of one flow in short bursts, and return how many arrive in a second.

    Args:
        sender: A connected, patient socket.
        receiver: The patient socket that receives them.
        count: The number of datagrams.
        clock: The clock.

    Raises:
        LoadError: A datagram was lost.
    """
    with _prepared((sender,)):
        begun, left = clock(), count
        while left > 0:
            burst = min(_BURST, left)
            for _ in range(burst):
                sender.send(_PAYLOAD)
            for _ in range(burst):
                receiver.recv(len(_PAYLOAD))
            left -= burst
        return per_second(count, clock() - begun)


def _unless_full(move: Callable[[], int]) -> int:
    try:
        return move()
    except BlockingIOError:
        return 0


def _await(sock: socket.socket, timeout_s: float) -> None:
    poll = select.poll()  # select(2) does not support descriptors above 1023
    poll.register(sock, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        raise LoadError(f"the stream stood still for {timeout_s:g} s")


@contextmanager
def _prepared(used: Sequence[socket.socket]) -> Iterator[None]:
    """Keep the garbage collector out of the block, and close the sockets after it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    except BlockingIOError:  # what the kernel reports after the time limit of a patient socket
        raise LoadError("no answer") from None
    except OSError as error:
        raise LoadError(error.strerror or str(error)) from None
    finally:
        if collecting:
            gc.enable()
        for sock in used:
            abort(sock)
