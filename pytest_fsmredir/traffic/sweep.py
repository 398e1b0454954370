"""Open many TCP connections at once, with few system calls and few objects for each.

The kernel completes most handshakes within ``connect``, so one look at each socket shows the
banner. Only a socket without one becomes a :class:`Connection`, which waits for events.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pytest_fsmredir.model.flow import Acceptance, Address, Fate, Flow
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.sockets import abort, as_seen_by, loss, sockname
from pytest_fsmredir.traffic.wire import from_banner

_LONGEST_BANNER = 1024


@dataclass(slots=True)
class _Attempt:
    """One connection attempt of a sweep.

    Attributes:
        flow: What was dialled.
        sock: The client socket.
        client: Its own address; None if the kernel refused to dial.
        lost: How the attempt ended without an answer; None if it did not.
        answered_by: The acceptance in the banner; None without one.
    """

    flow: Flow
    sock: socket.socket
    client: Address | None = None
    lost: str | None = None
    answered_by: Acceptance | None = None

    def is_settled(self) -> bool:
        return self.answered_by is not None or self.lost is not None

    @property
    def fate(self) -> Fate:
        path = () if self.answered_by is None else (self.answered_by,)
        return Fate(self.flow, self.client, path, self.lost)

    def dial(self) -> None:
        code = self.sock.connect_ex(as_seen_by(self.sock, self.flow.destination))
        # EALREADY: the caller's preparation has sent the SYN (TCP fast open).
        if code in (0, errno.EINPROGRESS, errno.EALREADY):
            self.client = sockname(self.sock)
        else:
            self.lost = loss(code)

    def look(self) -> None:
        """Read the banner if it has arrived, without taking it from the socket."""
        try:
            heard = self.sock.recv(_LONGEST_BANNER, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost = loss(error.errno or 0)
            return
        line, newline, _ = heard.partition(b"\n")
        if newline:
            self.answered_by = from_banner(line)
        elif not heard:
            self.lost = "closed"


def sweep(
    engine: Engine,
    flows: Iterable[Flow],
    make_socket: Callable[[Flow], socket.socket],
    timeout_s: float,
) -> list[Fate]:
    """Open flows at once, and return their fates by the banner, in the given order.

    Args:
        engine: The loop that serves the acceptors.
        flows: The flows to open.
        make_socket: Returns a new client socket for a flow.
        timeout_s: How long a flow may take before it counts as "no answer".
    """
    mark = len(engine.log)
    attempts: list[_Attempt] = []
    with engine.brief_answers():
        try:
            for flow in flows:
                attempts.append(_Attempt(flow, make_socket(flow)))
                attempts[-1].dial()
            engine.settle()
            for attempt in attempts:
                if attempt.lost is None:
                    attempt.look()
            waiting = [attempt for attempt in attempts if not attempt.is_settled()]
            if waiting:
                _wait(engine, waiting, mark, timeout_s)
        finally:
            for attempt in attempts:
                abort(attempt.sock)
    return [attempt.fate for attempt in attempts]


def _wait(engine: Engine, attempts: Sequence[_Attempt], mark: int, timeout_s: float) -> None:
    with ExitStack() as undo:
        window = [
            undo.enter_context(Connection(engine, attempt.flow, attempt.sock, mark))
            for attempt in attempts
        ]
        waiting = list(window)

        def all_settled() -> bool:
            while waiting and waiting[-1].is_settled():
                waiting.pop()
            return not waiting

        engine.pump(all_settled, timeout_s)
        for attempt, connection in zip(attempts, window, strict=True):
            connection.give_up()
            attempt.answered_by, attempt.lost = connection.answered_by, connection.lost
