"""See which of several listeners accepts a connection, and answer connections."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pytest_fsmredir.backends.measuring import UnmeasuredError
from pytest_fsmredir.traffic.sockets import abort

WORDS = {
    "outbound": "the sidecar's outbound listener",
    "inbound": "the sidecar's inbound listener",
    "app": "the application",
    "server": "the server",
}
"""The listeners of the benchmark, in words."""


def who_accepts(listeners: Mapping[str, socket.socket], timeout_s: float) -> str:
    """Return the name of the listener that a new connection arrives at, and reset it.

    Raises:
        UnmeasuredError: It arrives at none of them.
    """
    poll = select.poll()
    names = {sock.fileno(): name for name, sock in listeners.items()}
    for descriptor in names:
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(timeout_s * 1000)
    if not ready:
        raise UnmeasuredError("the connection arrived nowhere")
    name = names[ready[0][0]]
    abort(listeners[name].accept()[0])
    return name


def drain(listeners: Iterable[socket.socket]) -> None:
    """Reset the connections that wait at some listeners, such as those of a load that failed."""
    for listener in listeners:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while poll.poll(0):
            abort(listener.accept()[0])


@contextmanager
def answering(listener: socket.socket) -> Iterator[None]:
    """Send one byte to each connection of a listener, in a thread, and close it after the block."""

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                continue  # nothing for a while
            except OSError:
                return  # the end of the block has shut it down
            with accepted:
                accepted.send(b"x")

    thread = threading.Thread(target=serve, name="fsmredir-answering", daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
