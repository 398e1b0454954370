"""Keep connections idle, and read their timeouts from connection tracking."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.sockettable import SocketTable

IDLE_S = 3.0
"""Minimum time in seconds that connections are idle before they carry data again."""

_SOON_S = 20
"""Seconds that a check waits if connection tracking forgets a connection within this time.

By default the kernel forgets a half-closed connection after 60 s at the earliest, and an open one
after five days (tcp_timeouts, linux/net/netfilter/nf_conntrack_proto_tcp.c).
"""

_LONG_S = 45
"""Seconds of idleness after which the kernel may have forgotten a half-closed connection."""


class Idling:
    """Idle connections, until they carry data again.

    The timeouts of connection tracking only determine how long to wait, not the verdict.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        namespace: Namespace,
        engine: Engine,
        least_s: float,
    ) -> None:
        self._connections, self._engine = connections, engine
        self._since, self._least_s = monotonic(), least_s
        table = namespace.run(SocketTable.read)
        self._expires = [_expires_s(connection, table) for connection in connections]

    def over(self) -> list[Connection]:
        """Wait until the connections have been idle for long enough, and return them.

        Connections that the kernel itself may have forgotten are left out.
        """
        soon = [expires for expires in self._expires if expires is not None and expires <= _SOON_S]
        until = self._since + max([self._least_s, *(expires + 1 for expires in soon)])
        self._engine.pump(lambda: monotonic() >= until, max(0.0, until - monotonic()))
        idle_s = monotonic() - self._since
        return [
            connection
            for connection, expires in zip(self._connections, self._expires, strict=True)
            if idle_s < _LONG_S or (expires is not None and not _SOON_S < expires < 2 * idle_s)
        ]


def _expires_s(connection: Connection, table: SocketTable) -> int | None:
    """Return the seconds until connection tracking forgets a connection; None if unknown."""
    tracked = connection.client and table.tracked(connection.client, connection.flow.destination)
    return tracked.expires_s if tracked else None
