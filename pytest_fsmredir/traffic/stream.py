"""A connected TCP socket inside the engine, with buffering, half-close and back pressure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from pytest_fsmredir.traffic.engine import BROKEN, READABLE, WRITABLE, Engine
from pytest_fsmredir.traffic.sockets import abort, loss

CHUNK = 256 * 1024
HIGH_WATER = 1024 * 1024


class Stream:
    """Reads, writes and half-closes one socket without blocking.

    It calls ``on_data`` with received data and ``on_end`` at the peer's half-close. If the
    connection breaks, it calls ``on_loss`` with a word for the reason. Each callback may be
    replaced at any time.

    Attributes:
        feeds: The stream that receives a copy of the input; its full buffer pauses reading.
        ended: The peer has half-closed.
        closed: The socket is closed.
        watched: The engine handles its events.
    """

    __slots__ = (
        "__weakref__", "_engine", "_events", "_fed_by", "_finished", "_finishing", "_out",
        "closed", "ended", "feeds", "on_data", "on_end", "on_loss", "sock", "watched",
    )  # fmt: skip

    def __init__(self, engine: Engine, sock: socket.socket, *, watched: bool = True) -> None:
        self.sock = sock
        self.watched = False
        self.feeds: Stream | None = None
        self.ended = False
        self.closed = False
        self.on_data: Callable[[bytes], object] = _ignore
        self.on_end: Callable[[], object] = _ignore
        self.on_loss: Callable[[str], object] = _ignore
        self._engine = engine
        self._out = bytearray()
        self._finishing = False
        self._finished = False
        self._fed_by: Stream | None = None
        self._events = READABLE
        if watched:
            self.watch()

    def watch(self) -> None:
        """Handle the events of the socket from now on."""
        if not self.watched:
            self.watched = True
            self._engine.watch(self.sock, self._events, self._ready)

    def copy_to(self, other: Stream) -> None:
        """Copy all received data and the half-close to the other stream."""
        self.feeds, other._fed_by = other, self
        self.on_data = other.send
        self.on_end = other.finish

    def send(self, data: bytes) -> None:
        """Queue data; send as much as possible immediately."""
        self._out += data
        self._flush()

    def send_urgent(self, data: bytes) -> None:
        """Send a few bytes as urgent data (tcp(7)); the queue must be empty."""
        try:
            self.sock.send(data, socket.MSG_OOB)
        except OSError as error:
            self._lose(error.errno or 0)

    def finish(self) -> None:
        """Half-close when the queue is sent; close when the peer has half-closed too."""
        self._finishing = True
        self._flush()

    def close(self) -> None:
        """Abort the connection with RST."""
        if not self.closed:
            self._let_go()
            abort(self.sock)

    @property
    def drained(self) -> bool:
        """Whether the kernel has taken all queued data."""
        return not self._out

    def _ready(self, events: int) -> None:
        if events & BROKEN and not events & READABLE:
            self._lose(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            return
        if events & READABLE:
            self._read()
        if events & WRITABLE and not self.closed:
            self._flush()

    def _read(self) -> None:
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.errno or 0)
            return
        if data:
            self.on_data(data)
        else:
            self.ended = True
            self.on_end()
        self._settle()

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            while self._out:
                sent = self.sock.send(self._out[:CHUNK])
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error.errno or 0)
            return
        if self._finishing and not self._out and not self._finished:
            self._finished = True
            with suppress(OSError):  # ENOTCONN: the peer has already reset the connection
                self.sock.shutdown(socket.SHUT_WR)
        self._settle()
        if self._fed_by is not None:
            self._fed_by._settle()

    def _settle(self) -> None:
        """Watch the events that are still possible, or close when both directions are done."""
        if self.closed:
            return
        if self.ended and self._finished:
            self._release()  # no abort: the kernel may still have data to deliver
            return
        full = self.feeds is not None and len(self.feeds._out) > HIGH_WATER
        events = (0 if self.ended or full else READABLE) | (WRITABLE if self._out else 0)
        if events != self._events:
            self._events = events
            if self.watched:
                self._engine.change(self.sock, events)
            else:
                self.watch()

    def _lose(self, code: int) -> None:
        on_loss = self.on_loss
        self._release()
        on_loss(loss(code))

    def _release(self) -> None:
        self._let_go()
        self.sock.close()

    def _let_go(self) -> None:
        """Stop watching, and drop references to avoid reference cycles."""
        self.closed = True
        self._engine.forget(self.sock)
        self.feeds = self._fed_by = None
        self.on_data = self.on_end = self.on_loss = _ignore


def _ignore(*_: object) -> None:
    """Ignore the event (default callback)."""
