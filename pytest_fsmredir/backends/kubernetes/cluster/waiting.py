"""Waiting for what a cluster does in its own time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.errors import DeadlineError

T = TypeVar("T")

_LOOK_S = 0.2


def eventually(look: Callable[[], T | None], within_s: float, what: str) -> T:
    """Wait until something is there, and return it.

    Raises:
        DeadlineError: It is not there in time; the message names it.
    """
    retrying = Retrying(
        stop=stop_after_delay(within_s),
        wait=wait_fixed(_LOOK_S),
        retry=retry_if_result(lambda found: not found),
    )
    try:
        found = retrying(look)
    except RetryError:
        raise DeadlineError(f"waited {within_s:.0f} s for {what}") from None
    assert found is not None  # noqa: S101 - what is not there is looked for again
    return found
