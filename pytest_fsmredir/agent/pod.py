"""Variants of the traffic code for containers."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from pytest_fsmredir.agent.forms import SPAN
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Flow
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dial, Prepare
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.services import Listener, Serve, answer

_LOOK_S = 0.02  # seconds between looks at a handshake: its completion raises no event


class NumberedEngine(Engine):
    """An engine whose serial numbers are unique among all agents of a run.

    Attributes:
        number: The number of this agent.
        times: The time of each acceptance in the log, in nanoseconds since the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.times: list[int] = []

    def accepted(
        self, by: Acceptor, local: Address, peer: Address, original: Address | None
    ) -> Acceptance:
        """Log an acceptance and return it."""
        serial = self.number * SPAN + len(self._log)
        acceptance = Acceptance(serial, by, local, peer, original)
        self._log.append(acceptance)
        self.times.append(time.time_ns())
        return acceptance


class ContainerHost(Host):
    """A host whose listeners are transparent only if that is permitted.

    A sidecar container has no capabilities, so it accepts redirected connections, but not
    connections by TPROXY.
    """

    def listen(
        self,
        address: Address,
        *,
        by: Acceptor = Acceptor.ORIGIN,
        uid: int = 0,
        serve: Serve = answer,
        prepare: Prepare | None = None,
    ) -> Listener:
        """Listen for TCP on an address of this host."""

        def prepare_if_permitted(sock: socket.socket) -> None:
            if prepare is not None:
                with suppress(PermissionError):
                    prepare(sock)

        return super().listen(address, by=by, uid=uid, serve=serve, prepare=prepare_if_permitted)

    def dial(self, flow: Flow, dial: Dial) -> Connection:
        """Start to connect, without waiting."""
        return self._dial(flow, dial)

    def settle(self, connections: Sequence[Connection], patience_s: float | None = None) -> None:
        """Wait until all connections are answered or lost.

        Args:
            connections: The connections to wait for.
            patience_s: Seconds that connected flows may stay silent, so that their acceptor can be
                observed. The time limit of a flow applies to the others, and to all by default.
        """
        deadline = time.monotonic() + self.timeout_s
        silent_since = time.monotonic()
        while (now := time.monotonic()) < deadline:
            if self.engine.pump(lambda: all(c.is_settled() for c in connections), _LOOK_S):
                return
            if not all(each.is_settled() or each.connected for each in connections):
                silent_since = now
            elif patience_s is not None and now - silent_since >= patience_s:
                return
