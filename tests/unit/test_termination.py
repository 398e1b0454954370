"""Signals that end a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from pytest_fsmredir.plugin.termination import Terminated, Termination, drop_frames_without_line


@pytest.fixture
def termination() -> Iterator[Termination]:
    """Signals that end a run, until the test ends."""
    made = Termination()
    made.watch()
    yield made
    made.release()


class Finalizer:
    """A signal arrives while this object is removed."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("termination")
def test_signal_in_a_finalizer_ends_the_run_too() -> None:
    """Catches: a run that goes on after SIGTERM, because Python drops what a finalizer raises."""
    with pytest.raises(Terminated, match="terminated by SIGTERM"):  # noqa: PT012 - a later line
        Finalizer()
        threading.Event().wait(60)


def test_released_signals_have_their_default_action_again(termination: Termination) -> None:
    """Catches: the suite handles signals and lost exceptions of its host project after its run."""
    assert sys.unraisablehook == termination._lost
    termination.release()
    assert sys.unraisablehook != termination._lost
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def interrupt() -> None:
    """Raise from an instruction that belongs to no line."""
    raise Terminated("terminated by SIGTERM")


interrupt.__code__ = interrupt.__code__.replace(co_linetable=b"")


def test_interrupt_without_a_line_can_be_printed() -> None:
    """Catches: a crash of pytest's reporter in place of the sentence that says how to go on."""
    try:
        try:
            interrupt()
        except Terminated as end:
            raise Terminated(f"{end}; go on with 44-5000") from end
    except Terminated:
        excinfo = pytest.ExceptionInfo[BaseException].from_current()
    drop_frames_without_line(excinfo)
    assert "go on with 44-5000" in str(excinfo.getrepr())
