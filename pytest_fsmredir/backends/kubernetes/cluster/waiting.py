"""Wait for a condition in a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.errors import DeadlineError

T = TypeVar("T")

_LOOK_S = 0.2


def eventually(look: Callable[[], T | None], within_s: float, what: str) -> T:
    """Call ``look`` until it returns something, and return that.

    Raises:
        DeadlineError: ``look`` returned nothing in time; the message says ``what`` was awaited.
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
    assert found is not None  # noqa: S101 - the loop above repeats on None
    return found
