"""Run an implementation in the background, and pause it before each program that it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pytest_fsmredir.backends.netns.sabotage import HoldingToolbox
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.traffic.host import Host

SHORT_S = 0.1
"""Timeout of flows during the run, so that the run does not exceed its deadline."""

_LOOK_S = 0.002  # pause between two polls while no program waits


class Steps:
    """The steps of a run; see :meth:`pytest_fsmredir.backends.facets.Sabotage.in_steps`."""

    def __init__(self, tools: HoldingToolbox, program: Callable[[], Programming]) -> None:
        self._tools, self._program = tools, program
        self._ended: list[Programming | BaseException] = []
        self._thread = threading.Thread(target=self._run, name="fsmredir-steps", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[None]:
        """Yield during the run, at least once while each program waits."""
        while self._thread.is_alive():
            held = self._tools.wait(_LOOK_S)
            yield
            self._tools.let_go(held)

    @property
    def programming(self) -> Programming:
        """Wait for the end of the run, and return its result."""
        self._thread.join()
        (ended,) = self._ended
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def finish(self) -> None:
        """Pause no further program, and wait for the end of the run."""
        self._tools.let_go()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._ended.append(self._program())
        except BaseException as error:  # raised again in the thread that reads the result
            self._ended.append(error)


@contextmanager
def steps(
    tools: HoldingToolbox, program: Callable[[], Programming], hosts: tuple[Host, ...]
) -> Iterator[Steps]:
    """Run an implementation in the background for the block, with short timeouts of flows."""
    with ExitStack() as undo:
        undo.callback(tools.close)
        for host in hosts:
            undo.callback(setattr, host, "timeout_s", host.timeout_s)
            host.timeout_s = min(host.timeout_s, SHORT_S)
        running = Steps(tools, program)
        undo.callback(running.finish)
        yield running
