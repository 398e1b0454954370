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
    """Reads, writes and half-closes one socket without ever blocking.

    What arrives goes to ``on_data``; the peer's half-close to ``on_end``; a broken connection to
    ``on_loss`` with a plain word. Each may be replaced at any time.

    Attributes:
        feeds: The stream our input is copied to, whose full buffer pauses our reading.
        ended: The peer has half-closed.
        closed: The socket is gone.
    """

    __slots__ = (
        "__weakref__", "_engine", "_events", "_fed_by", "_finished", "_finishing", "_out",
        "closed", "ended", "feeds", "on_data", "on_end", "on_loss", "sock",
    )  # fmt: skip

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self.sock = sock
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
        engine.watch(sock, READABLE, self._ready)

    def copy_to(self, other: Stream) -> None:
        """Send all that arrives here on to the other stream, half-close included."""
        self.feeds, other._fed_by = other, self
        self.on_data = other.send
        self.on_end = other.finish

    def send(self, data: bytes) -> None:
        """Queue data; what fits goes out at once."""
        self._out += data
        self._flush()

    def send_urgent(self, data: bytes) -> None:
        """Send a few bytes as urgent data (tcp(7)), behind nothing that is still queued."""
        try:
            self.sock.send(data, socket.MSG_OOB)
        except OSError as error:
            self._lose(error.errno or 0)

    def finish(self) -> None:
        """Half-close once everything queued is out; close when the peer has ended as well."""
        self._finishing = True
        self._flush()

    def close(self) -> None:
        """Abort: the peer sees RST."""
        if not self.closed:
            self._let_go()
            abort(self.sock)

    @property
    def drained(self) -> bool:
        """Everything sent so far has been handed to the kernel."""
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
            with suppress(OSError):  # ENOTCONN: the peer was faster and has reset
                self.sock.shutdown(socket.SHUT_WR)
        self._settle()
        if self._fed_by is not None:
            self._fed_by._settle()

    def _settle(self) -> None:
        """Wait for what can still happen, or close when both directions are done."""
        if self.closed:
            return
        if self.ended and self._finished:
            self._release()  # no abort: the kernel may still hold data that it has to deliver
            return
        full = self.feeds is not None and len(self.feeds._out) > HIGH_WATER
        events = (0 if self.ended or full else READABLE) | (WRITABLE if self._out else 0)
        if events != self._events:
            self._events = events
            self._engine.change(self.sock, events)

    def _lose(self, code: int) -> None:
        on_loss = self.on_loss
        self._release()
        on_loss(loss(code))

    def _release(self) -> None:
        self._let_go()
        self.sock.close()

    def _let_go(self) -> None:
        """Stop watching, and drop references so that no cycle is left to the garbage collector."""
        self.closed = True
        self._engine.forget(self.sock)
        self.feeds = self._fed_by = None
        self.on_data = self.on_end = self.on_loss = _ignore


def _ignore(*_: object) -> None:
    """The default callback."""
