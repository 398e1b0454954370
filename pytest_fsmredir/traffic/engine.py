"""One event loop for every socket of a run: clients, origins and sidecars.

The thread that calls :meth:`Engine.pump` drives all traffic; only one thread at a time does so.
This avoids races and sleeps: when a flow is done, the engine has seen everything that the flow
caused in this process. Witnesses report what other processes accept.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

_LATE_PASSES = 64  # more than any flow needs; the limit ends a loop
_SETTLING_PASSES = 4096  # more than the leftovers of a sweep need

ONE_AT_A_TIME = threading.RLock()
"""Held by the thread that sends a flow or serves sockets.

Only one thread at a time drives all traffic of a process, so the path of a flow never contains
hops of another flow.
"""

Handler = Callable[[int], None]

Seen = tuple[Acceptor, Address, Address, Address | None]
"""The arguments of :meth:`Engine.accepted`: by, local, peer, original."""

Witness = Callable[[], Iterable[Seen]]


class End(Protocol):
    """The acceptor's end of a connection.

    Attributes:
        on_end: Called when the client half-closes.
    """

    on_end: Callable[[], object]

    def send(self, data: bytes) -> None:
        """Queue data for the client."""
        ...


class BriefEnd(Protocol):
    """The acceptor's end of a connection of a sweep.

    Attributes:
        watched: The engine handles its events.
    """

    watched: bool

    def close(self) -> None:
        """Abort the connection."""
        ...


class Watchable(Protocol):
    """A socket, or one end of a pipe."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Engine:
    """An epoll loop and the log of every acceptance.

    Attributes:
        ends: The open connections that this engine accepted, by serial number.
        brief: The connections accepted during :meth:`brief_answers`; None outside of it.
    """

    def __init__(self) -> None:
        self.brief: list[BriefEnd] | None = None
        self.ends: WeakValueDictionary[int, End] = WeakValueDictionary()
        self._log: list[Acceptance] = []
        self._forgotten = 0
        self._witnesses: list[Witness] = []
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    @property
    def log(self) -> list[Acceptance]:
        """Acceptances in the order they happened; their serials count on from the first."""
        self.catch_up()
        return self._log

    def consult(self, witness: Witness) -> None:
        """Register a witness; it is called before each write to the log and each read of it.

        Args:
            witness: Returns what another process has accepted since the last call, in order. It
                must report an acceptance before any consequence of it is visible. So the log stays
                in order without waiting.
        """
        self._witnesses.append(witness)

    def catch_up(self) -> None:
        """Log the acceptances that the witnesses report."""
        for witness in self._witnesses:
            for seen in witness():
                self._log.append(Acceptance(self._next_serial(), *seen))

    def forget_log(self) -> None:
        """Empty the log, so that a long search needs no more memory than a short one.

        No flow may be open: it finds its path in the log.
        """
        self._forgotten += len(self.log)
        self._log.clear()

    def watch(self, sock: Watchable, events: int, handler: Handler) -> None:
        """Call ``handler(events)`` whenever the socket is ready; a broken socket always is."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), events)

    def change(self, sock: Watchable, events: int) -> None:
        """Wait for other events on a watched socket."""
        self._epoll.modify(sock.fileno(), events)

    def forget(self, sock: Watchable) -> None:
        """Stop watching; harmless for a socket that is not watched."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def pump(self, done: Callable[[], bool], within_s: float) -> bool:
        """Serve every socket until ``done()``; False when that took longer than ``within_s``.

        The kernel continues while this process waits for a CPU. So after the time limit the sockets
        that are ready are still served, and no answer is missed on an overloaded machine.
        """
        deadline = time.monotonic() + within_s
        late = 0
        while not done():
            left = deadline - time.monotonic()
            late += left <= 0
            if late > _LATE_PASSES or not self._serve(max(left, 0)):
                return done()
        return True

    def settle(self) -> None:
        """Serve every socket that is ready, and the events that this causes.

        A call before a flow keeps the leftovers of an earlier flow out of the new flow's path.
        """
        for _ in range(_SETTLING_PASSES):
            if not self._serve(0):
                break

    @contextmanager
    def brief_answers(self) -> Iterator[None]:
        """Let acceptors answer without watching their connections, which the end of the block ends.

        Handling the events of a connection costs as much as the connection itself.
        """
        brief: list[BriefEnd] = []
        self.brief = brief
        try:
            yield
        finally:
            self.brief = None
            for end in brief:
                if not end.watched:
                    end.close()

    def accepted(
        self, by: Acceptor, local: Address, peer: Address, original: Address | None
    ) -> Acceptance:
        """Log an acceptance and return it."""
        log = self.log
        acceptance = Acceptance(self._next_serial(), by, local, peer, original)
        log.append(acceptance)
        return acceptance

    def close(self) -> None:
        """Release the loop. The sockets stay with their owners."""
        self._handlers.clear()
        self._witnesses.clear()
        self._epoll.close()

    def _next_serial(self) -> int:
        return self._forgotten + len(self._log)

    def _serve(self, timeout_s: float) -> bool:
        ready = self._epoll.poll(timeout_s)
        for descriptor, events in ready:
            # A handler earlier in this batch may have closed this one's socket.
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)
        return bool(ready)
