"""One event loop for every socket of a run: clients, origins and sidecars.

All traffic is driven by the thread that calls :meth:`Engine.pump`, so there is no lock, no race
and no sleep: when a flow is done, all that it caused inside this process has been seen.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from pytest_fsmredir.spec.flow import Acceptance, Acceptor, Address

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

Handler = Callable[[int], None]


class Engine:
    """An epoll loop and the log of every acceptance it saw.

    Attributes:
        log: Acceptances in the order they happened; ``log[n].serial == n``.
    """

    def __init__(self) -> None:
        self.log: list[Acceptance] = []
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    def watch(self, sock: socket.socket, events: int, handler: Handler) -> None:
        """Call ``handler(events)`` whenever the socket is ready; broken sockets always are."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), events)

    def change(self, sock: socket.socket, events: int) -> None:
        """Wait for other events on a watched socket."""
        self._epoll.modify(sock.fileno(), events)

    def forget(self, sock: socket.socket) -> None:
        """Stop watching; harmless for a socket that is not watched."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def pump(self, done: Callable[[], bool], within_s: float) -> bool:
        """Serve every socket until ``done()``; False when that took longer than ``within_s``."""
        deadline = time.monotonic() + within_s
        while not done():
            left = deadline - time.monotonic()
            if left <= 0 or not self._serve(left):
                return done()
        return True

    def accepted(
        self, by: Acceptor, local: Address, peer: Address, original: Address | None
    ) -> Acceptance:
        """Log an acceptance and return it."""
        acceptance = Acceptance(len(self.log), by, local, peer, original)
        self.log.append(acceptance)
        return acceptance

    def close(self) -> None:
        """Release the loop; the sockets belong to whoever watched them."""
        self._handlers.clear()
        self._epoll.close()

    def _serve(self, timeout_s: float) -> bool:
        ready = self._epoll.poll(timeout_s)
        for descriptor, events in ready:
            # A handler earlier in this batch may have closed this one's socket.
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)
        return bool(ready)
