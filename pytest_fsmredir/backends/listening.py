"""Name the programs of a pod that listen, from the kernel's tables of sockets."""

from __future__ import annotations

from pytest_fsmredir.model.capture import CapturedListener
from pytest_fsmredir.traffic.sockettable import TcpState, parse_sockets


def listeners_in(*tables: str) -> tuple[CapturedListener, ...]:
    """Return the listening sockets in the texts of ``/proc/net/tcp`` and ``tcp6``, by port."""
    found = {
        CapturedListener(row.local.host, row.local.port, row.uid)
        for table in tables
        for row in parse_sockets(table)
        if row.state is TcpState.LISTEN
    }
    return tuple(sorted(found, key=lambda each: (each.port, each.address, each.uid)))
