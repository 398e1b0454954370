"""The traffic code as it runs in a container."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from pytest_fsmredir.agent.forms import SPAN
from pytest_fsmredir.spec.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.host import Host, Prepare
from pytest_fsmredir.traffic.services import Listener, Serve, answer


class NumberedEngine(Engine):
    """An engine whose serial numbers are its own among all agents of a run.

    Attributes:
        number: Of this agent.
        times: When each acceptance of the log happened, in nanoseconds since the epoch.
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

    def settle(self) -> None:
        """Serve every socket that is ready now, and what follows from it."""
        while self._serve(0):
            pass


class ContainerHost(Host):
    """A host whose listeners need not be transparent.

    A sidecar container has no capability, so it takes what is redirected to it, and not what
    TPROXY would hand over.
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
