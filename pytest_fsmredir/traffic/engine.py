"""One event loop for every socket of a run: clients, origins and sidecars.

The thread that calls :meth:`Engine.pump` drives all traffic, and one thread at a time does. So
there is no race and no sleep: when a flow is done, everything that it caused inside this process
has been seen. Witnesses report what other processes accept.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakValueDictionary

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

_LATE_PASSES = 64  # more than the hops of any flow take, so that a loop ends
_SETTLING_PASSES = 4096  # more than a sweep leaves behind

ONE_AT_A_TIME = threading.RLock()
"""Held by the thread that sends a flow or serves sockets.

One thread at a time drives all traffic of a process, so a flow's path never holds another's hops.
"""

Handler = Callable[[int], None]

Seen = tuple[Acceptor, Address, Address, Address | None]
"""What :meth:`Engine.accepted` is given: by, local, peer, original."""

Witness = Callable[[], Iterable[Seen]]


class End(Protocol):
    """An accepted connection.

    Attributes:
        on_end: Called when the client half-closes.
    """

    on_end: Callable[[], object]

    def send(self, data: bytes) -> None:
        """Queue data for the client."""
        ...


class Watchable(Protocol):
    """A socket, or one end of a pipe."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Engine:
    """An epoll loop and the log of every acceptance it saw.

    Attributes:
        ends: The connections that were accepted here and are still open, by serial.
    """

    def __init__(self) -> None:
        self.ends: WeakValueDictionary[int, End] = WeakValueDictionary()
        self._log: list[Acceptance] = []
        self._witnesses: list[Witness] = []
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    @property
    def log(self) -> list[Acceptance]:
        """Acceptances in the order they happened; ``log[n].serial == n``."""
        self.catch_up()
        return self._log

    def consult(self, witness: Witness) -> None:
        """Ask this each time before an acceptance is logged and before the log is read.

        Args:
            witness: Returns what another process has accepted since the last call, in order. It
                must be able to tell of an acceptance before anybody can see what that led to; so
                the log stays in order without waiting.
        """
        self._witnesses.append(witness)

    def catch_up(self) -> None:
        """Log what the witnesses have to tell."""
        for witness in self._witnesses:
            for seen in witness():
                self._log.append(Acceptance(len(self._log), *seen))

    def watch(self, sock: Watchable, events: int, handler: Handler) -> None:
        """Call ``handler(events)`` whenever the socket is ready; broken sockets always are."""
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

        The kernel goes on while this process gets no processor, so once the time is over, what is
        ready by then is served still: a machine that is overloaded makes no answer be missed.
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
        """Serve every socket that is ready now, and what follows from it.

        Called before a flow, it keeps the leftovers of an earlier flow out of the new one's path.
        """
        for _ in range(_SETTLING_PASSES):
            if not self._serve(0):
                break

    def accepted(
        self, by: Acceptor, local: Address, peer: Address, original: Address | None
    ) -> Acceptance:
        """Log an acceptance and return it."""
        log = self.log
        acceptance = Acceptance(len(log), by, local, peer, original)
        log.append(acceptance)
        return acceptance

    def close(self) -> None:
        """Release the loop. The sockets stay with their owners."""
        self._handlers.clear()
        self._witnesses.clear()
        self._epoll.close()

    def _serve(self, timeout_s: float) -> bool:
        ready = self._epoll.poll(timeout_s)
        for descriptor, events in ready:
            # A handler earlier in this batch may have closed this one's socket.
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)
        return bool(ready)
