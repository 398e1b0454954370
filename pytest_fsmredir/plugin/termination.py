"""Handle signals that end a run: clean up and write the report, as after Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import TracebackEntry

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that supervisors, CI runners and closing terminals send."""
_SOON_S = 0.05


class Terminated(KeyboardInterrupt):
    """A signal asks this process to end; pytest handles it like Ctrl-C.

    Attributes:
        number: The signal.
    """

    def __init__(self, text: str, number: int = signal.SIGTERM) -> None:
        super().__init__(text)
        self.number = number


class Termination:
    """Ends the run on a signal, if the signal has its default action.

    If the host project handles a signal, its handler stays in place.
    """

    def __init__(self) -> None:
        self._ours: list[signal.Signals] = []
        self._report = sys.unraisablehook

    def watch(self) -> None:
        """Interrupt the main thread on a signal from now on."""
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers (signal.signal)
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._interrupt)
                self._ours.append(number)
        self._report, sys.unraisablehook = sys.unraisablehook, self._lost

    def ignore(self) -> None:
        """Ignore further signals during the cleanup."""
        self._set(signal.SIG_IGN)

    def release(self) -> None:
        """Restore the default action of the signals."""
        self._set(signal.SIG_DFL)
        self._ours.clear()
        if sys.unraisablehook == self._lost:
            sys.unraisablehook = self._report

    def _set(self, action: signal.Handlers) -> None:
        for number in self._ours:
            signal.signal(number, action)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        raise Terminated(f"terminated by {signal.Signals(number).name}", number)

    def _lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Send a signal again that arrived in a finalizer, from which no exception gets out."""
        end = unraisable.exc_value
        if not isinstance(end, Terminated):
            self._report(unraisable)
            return
        for number in self._ours:
            signal.signal(number, self._interrupt)
        # Not at once: the finalizer has not ended yet.
        threading.Timer(_SOON_S, os.kill, (os.getpid(), end.number)).start()


def drop_frames_without_line(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Remove the frames that pytest cannot print from the traceback of an interrupt.

    A signal can interrupt an instruction that belongs to no line. ``tb_lineno`` of that frame is
    ``None``, and the terminal reporter of pytest subtracts one from it.
    """
    excinfo.traceback = excinfo.traceback.filter(_has_line)


def _has_line(entry: TracebackEntry) -> bool:
    try:
        return entry.lineno >= 0
    except TypeError:
        return False
