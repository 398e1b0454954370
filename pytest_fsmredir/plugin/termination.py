"""Signals that end a run: the run removes what it made and writes the report, as after Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""What supervisors, CI runners and terminals that close send."""


class Terminated(KeyboardInterrupt):
    """A signal has asked this process to end; pytest takes it for Ctrl-C."""


class Termination:
    """Ends the run when a signal comes whose action is still the default one.

    A signal that the host project handles by itself stays with the host project.
    """

    def __init__(self) -> None:
        self._ours: list[signal.Signals] = []

    def watch(self) -> None:
        """Interrupt the main thread when a signal comes from now on."""
        if threading.current_thread() is not threading.main_thread():
            return  # nobody else may set handlers (signal.signal)
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._interrupt)
                self._ours.append(number)

    def ignore(self) -> None:
        """Take no notice of further signals: what was made is being removed."""
        self._set(signal.SIG_IGN)

    def release(self) -> None:
        """Give signals their default action again."""
        self._set(signal.SIG_DFL)
        self._ours.clear()

    def _set(self, action: signal.Handlers) -> None:
        for number in self._ours:
            signal.signal(number, action)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        raise Terminated(f"terminated by {signal.Signals(number).name}")
