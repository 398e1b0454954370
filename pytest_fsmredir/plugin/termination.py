"""Handle signals that end a run: clean up and write the report, as after Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

import pytest

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that supervisors, CI runners and closing terminals send."""
_SOON_S = 0.05


class Terminated(KeyboardInterrupt):
    """A signal asks this process to end; pytest handles it like Ctrl-C.

    Attributes:
        number: The signal.
        frame: What it interrupted.
    """

    def __init__(
        self, text: str, number: int = signal.SIGTERM, frame: FrameType | None = None
    ) -> None:
        super().__init__(text)
        self.number, self.frame = number, frame


class Termination:
    """Ends the run on a signal, if the signal has its default action.

    If the host project handles a signal, its handler stays in place.
    """

    def __init__(self) -> None:
        self._ours: list[signal.Signals] = []
        self._ends = False
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

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._ends:
            return
        self._ends = True
        raise Terminated(f"terminated by {signal.Signals(number).name}", number, frame)

    def _lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Send a signal again that arrived in a finalizer, from which no exception gets out."""
        end = unraisable.exc_value
        if not isinstance(end, Terminated):
            self._report(unraisable)
            return
        self._later(end)

    def _later(self, end: Terminated) -> None:
        threading.Timer(_SOON_S, self._again, [end]).start()

    def _again(self, end: Terminated) -> None:
        """Send a signal again once the main thread has left what lost it."""
        stack = sys._current_frames().get(threading.main_thread().ident or 0)
        while stack is not None:
            if stack is end.frame or stack.f_code is Termination._lost.__code__:
                self._later(end)
                return
            stack = stack.f_back
        self._ends = False
        if self._ours:
            os.kill(os.getpid(), end.number)


def drop_frames_without_line(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Remove the frames that pytest cannot print from the traceback of an interrupt.

    A signal can interrupt an instruction that belongs to no line. ``tb_lineno`` of that frame is
    ``None``, and the terminal reporter of pytest subtracts one from it. It does so for the
    exceptions that the interrupt was raised from, too.
    """
    excinfo.traceback = excinfo.traceback.filter(lambda entry: _has_line(entry._rawentry))
    error: BaseException | None = excinfo.value
    cleaned: set[int] = set()
    while error is not None and id(error) not in cleaned:
        cleaned.add(id(error))
        error.__traceback__ = _with_lines(error.__traceback__)
        error = error.__cause__ or error.__context__


def _with_lines(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames that have no line."""
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    for frame in reversed(frames):
        if _has_line(frame):
            frame.tb_next, traceback = traceback, frame
    return traceback


def _has_line(traceback: TracebackType) -> bool:
    return traceback.tb_lineno is not None
