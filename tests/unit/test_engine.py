"""The event loop: what is ready counts, however late it is looked at."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.traffic.engine import READABLE, Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(Engine()) as engine:
        yield engine


def test_answer_that_is_there_is_not_missed_when_time_is_over(engine: Engine) -> None:
    """A process that got no processor for a while calls flows unanswered that were answered."""
    here, there = socket.socketpair()
    heard = bytearray()
    with here, there:
        engine.watch(here, READABLE, lambda _: heard.extend(here.recv(16)))
        there.send(b"!")

        assert engine.pump(lambda: bool(heard), within_s=0)


def test_flow_that_never_ends_does_not_hold_up_the_run(engine: Engine) -> None:
    """A socket that is always ready, served for ever after the time is over."""
    here, there = socket.socketpair()
    with here, there:
        engine.watch(here, READABLE, lambda _: None)
        there.send(b"!")

        assert not engine.pump(lambda: False, within_s=0)
