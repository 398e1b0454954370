"""Stop waiting for an implementation that hangs on every pod."""

from __future__ import annotations

from time import monotonic

from pytest_fsmredir.implementations.base import Hung, Implementation, Target

_ENOUGH = 2


class CircuitBreaker:
    """Wraps an implementation, and stops calling it after it hung twice in a row.

    Attributes:
        name: The implementation's.
        features: The implementation's.
    """

    def __init__(self, implementation: Implementation, deadline_s: float) -> None:
        """Wrap an implementation; ``deadline_s`` is the time after which it is killed."""
        self.name, self.features = implementation.name, implementation.features
        self._implementation, self._deadline_s = implementation, deadline_s
        self._hung = 0

    def program(self, target: Target) -> None:
        """Program one pod, or refuse at once.

        Raises:
            Refused: The implementation refused the pod.
            Hung: The implementation was killed, or is not called any more.
        """
        if self._hung >= _ENOUGH:
            raise Hung(
                f"{self.name} was not run: it hung for {self._deadline_s:g} s on each of the last"
                f" {_ENOUGH} pods"
            )
        started = monotonic()
        try:
            self._implementation.program(target)
        except Hung:
            # Some checks kill the command on purpose, long before the deadline. That is not a hang.
            self._hung += monotonic() - started >= self._deadline_s
            raise
        except BaseException:
            self._hung = 0
            raise
        self._hung = 0
