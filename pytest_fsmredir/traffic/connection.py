"""A TCP connection attempt and its result."""

from __future__ import annotations

import errno
import socket
from typing import Self

from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.model.flow import PLAIN, Acceptance, Address, Fate, Flow, Sent
from pytest_fsmredir.traffic.engine import ONE_AT_A_TIME, End, Engine
from pytest_fsmredir.traffic.sockets import as_seen_by, loss, sockname
from pytest_fsmredir.traffic.stream import Stream
from pytest_fsmredir.traffic.wire import from_banner


class Connection:
    """A TCP connection attempt and its result; as a context manager it closes itself.

    Attributes:
        flow: What was dialled.
        client: The client's own address.
        lost: How the attempt or the connection ended, in one word; None while it is open.
        received: The bytes that arrived after the banner.
        answered_by: The acceptance in the banner; None without one.
    """

    def __init__(
        self, engine: Engine, flow: Flow, sock: socket.socket, mark: int, sent: Sent = PLAIN
    ) -> None:
        """Start to connect.

        Args:
            engine: The loop that serves the socket.
            flow: The flow to open.
            sock: The client socket.
            mark: Length of the engine's log before the socket was used.
            sent: Further properties of the flow's packets.
        """
        self.flow, self._sent = flow, sent
        self.client: Address | None = None
        self.lost: str | None = None
        self.received = bytearray()
        self.answered_by: Acceptance | None = None
        self._engine = engine
        self._mark = mark
        self._line = bytearray()
        self._stream: Stream | None = None
        self._dial(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_settled(self) -> bool:
        """Whether the attempt has been answered or lost."""
        return self.answered_by is not None or self.lost is not None

    @property
    def connected(self) -> bool:
        """Whether the handshake completed, even if the connection ended since."""
        if self.is_settled():
            return self.answered_by is not None or self.lost in ("closed", "reset")
        try:
            return self._stream is not None and bool(self._stream.sock.getpeername())
        except OSError:  # ENOTCONN: still connecting
            return False

    @property
    def ended(self) -> bool:
        """Whether the other side has half-closed or the connection is lost."""
        return self.lost is not None or (self._stream is not None and self._stream.ended)

    @property
    def path(self) -> tuple[Acceptance, ...]:
        """Every acceptance since the attempt began; valid while no other flow starts."""
        return tuple(self._engine.log[self._mark :])

    @property
    def fate(self) -> Fate:
        """The fate of the attempt."""
        return Fate(self.flow, self.client, self.path, self.lost, sent=self._sent)

    @property
    def fate_by_banner(self) -> Fate:
        """The fate according to the banner; use it if several flows run at once."""
        path = (self.answered_by,) if self.answered_by is not None else ()
        return Fate(self.flow, self.client, path, self.lost, sent=self._sent)

    def exchange(self, payload: bytes, within_s: float) -> bytes:
        """Send the payload and return what comes back, up to the payload's length."""
        with ONE_AT_A_TIME:
            self.send(payload)
            self._engine.pump(lambda: len(self.received) >= len(payload) or self.ended, within_s)
        echoed = bytes(self.received[: len(payload)])
        del self.received[: len(payload)]
        return echoed

    def echoes(self, payload: bytes, within_s: float) -> Statement:
        """Send a payload, and return the claim that it comes back unchanged."""
        echoed = self.exchange(payload, within_s)
        complete = len(echoed) == len(payload)
        seen = "as many other bytes" if complete else f"{len(echoed)} of {len(payload)} bytes"
        return Statement(
            holds=echoed == payload,
            expected=f"{len(payload)} bytes to come back unchanged",
            observed=f"{seen}; {self._state}",
            about=str(self.flow),
        )

    def half_closes(self, within_s: float) -> Statement:
        """Half-close, and return the claim that the other side then half-closes too."""
        return Statement(
            holds=self.finish(within_s),
            expected="the other side to half-close in turn",
            observed=self._state,
            about=str(self.flow),
        )

    def has_received(self, payload: bytes) -> Statement:
        """Return the claim that exactly this payload has arrived after the banner."""
        return self._has(payload, f"{len(payload)} bytes, unchanged")

    def send(self, payload: bytes, *, urgent: bool = False) -> None:
        """Queue a payload, or send a few bytes as urgent data."""
        with ONE_AT_A_TIME:
            if self._stream is None or self._stream.closed:
                return
            (self._stream.send_urgent if urgent else self._stream.send)(payload)

    def finish(self, within_s: float) -> bool:
        """Half-close, and return whether the other side then half-closes too."""
        with ONE_AT_A_TIME:
            if self._stream is not None:
                self._stream.finish()
            return self._engine.pump(lambda: self.ended, within_s) and self.lost is None

    def close(self) -> None:
        """Abort the connection."""
        with ONE_AT_A_TIME:
            if self._stream is not None:
                self._stream.close()

    def give_up(self) -> None:
        """Mark the attempt as not answered in time."""
        if not self.is_settled():
            self.lost = "no answer"

    @property
    def _state(self) -> str:
        return f"the client saw: {self.lost}" if self.lost else "the connection is open"

    def _has(self, payload: bytes, expected: str) -> Statement:
        complete = len(self.received) == len(payload)
        seen = "as many other bytes" if complete else f"{len(self.received)} bytes"
        return Statement(
            holds=self.received == payload,
            expected=expected,
            observed=f"{seen}; {self._state}",
            about=str(self.flow),
        )

    def _dial(self, sock: socket.socket) -> None:
        code = sock.connect_ex(as_seen_by(sock, self.flow.destination))
        # EALREADY: the caller's preparation has sent the SYN (TCP fast open).
        if code not in (0, errno.EINPROGRESS, errno.EALREADY):
            self.lost = loss(code)
            sock.close()
            return
        self.client = sockname(sock)
        self._stream = stream = Stream(self._engine, sock)
        stream.on_data = self._hear
        stream.on_end = self._end
        stream.on_loss = self._lose

    def _hear(self, data: bytes) -> None:
        if self.answered_by is not None:
            self.received += data
            return
        self._line += data
        line, newline, rest = bytes(self._line).partition(b"\n")
        if newline:
            self.answered_by = from_banner(line)
            self.received += rest

    def _end(self) -> None:
        if self.answered_by is None:
            self.lost = "closed"

    def _lose(self, how: str) -> None:
        self.lost = self.lost or how


class LocalConnection(Connection):
    """A connection whose acceptor may be in this process too, so that both ends can act."""

    def hears(self, payload: bytes, within_s: float) -> Statement:
        """Make the acceptor send a payload first, and return the claim that it arrives."""
        with ONE_AT_A_TIME:
            if (end := self._far_end()) is not None:
                end.send(payload)
            self._engine.pump(lambda: len(self.received) >= len(payload) or self.ended, within_s)
        return self._has(payload, f"{len(payload)} bytes that the other end sends by itself")

    def half_close(self) -> None:
        """Half-close; unlike with :meth:`finish`, the acceptor keeps its end open."""
        if (end := self._far_end()) is not None:
            end.on_end = lambda: None
        if self._stream is not None:
            self._stream.finish()

    def _far_end(self) -> End | None:
        """Return the acceptor's end if it is in this process, else None."""
        return None if self.answered_by is None else self._engine.ends.get(self.answered_by.serial)
