"""The witness in a pod: it reads the pod's socket tables while flows are open."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.traffic.sockettable import THREADS_OWN, SocketTable
from pytest_fsmredir.traffic.witness import Question, Sighting, WitnessScope, look

ACCEPT_S = 2.0
"""Seconds that a connection may wait for ``accept()``; a slower sidecar counts as hanging."""

LOOK_S = 0.02
"""Seconds between two reads of the tables; ready sockets are served in between."""


class Eyewitness:
    """Reads the socket tables of the network namespace of its process.

    Args:
        engine: Serves our own sockets, whose acceptances are logged directly.
        addresses: The pod's own addresses.
        folder: The directory of the tables.
    """

    def __init__(
        self, engine: NumberedEngine, addresses: Sequence[str], folder: Path = THREADS_OWN
    ) -> None:
        self._engine, self._addresses, self._folder = engine, frozenset(addresses), folder

    def look(self, questions: Sequence[Question]) -> list[Sighting]:
        """Return who accepted some flows, once none of them waits for ``accept()``."""
        deadline = time.monotonic() + ACCEPT_S
        while True:
            self._engine.settle()  # accept the connections that wait at our own listeners
            seen = self._look_once(questions)
            if time.monotonic() > deadline or not any(each.pending for each in seen):
                return seen
            self._engine.pump(lambda: False, LOOK_S)

    def _look_once(self, questions: Sequence[Question]) -> list[Sighting]:
        table = SocketTable.read(self._folder)
        scene = WitnessScope(table, self._addresses, own_inodes())
        return [look(scene, question) for question in questions]


def own_inodes() -> frozenset[int]:
    """Return the inodes of all open files of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a path for each would be for nothing
        with suppress(OSError):  # the descriptor of the listing itself
            found.add(os.fstat(int(name)).st_ino)
    return frozenset(found)
