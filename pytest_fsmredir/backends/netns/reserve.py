"""Create pods in advance, while a check uses the previous one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.wiring import VethLink, link_of

RESERVED_PODS = 3
_LARGER_FROM, _SINGLE_FROM = 32768, 49152


class Reserve:
    """Unprogrammed pods that a separate thread creates in advance, in order.

    Creating a pod must not start a program. A program that is being started holds copies of all
    descriptors until it executes. Meanwhile a port that another thread closed stays bound, and a
    script that another thread wrote cannot be executed (ETXTBSY).
    """

    def __init__(self, make: Callable[[], Sandbox], ahead: int) -> None:
        self._make, self._ahead = make, ahead
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsmredir-reserve")
        self._coming: deque[Future[Sandbox]] = deque()

    def take(self) -> Sandbox:
        """Return the next pod; the caller closes it."""
        while len(self._coming) <= self._ahead:
            self._coming.append(self._thread.submit(self._make))
        return self._coming.popleft().result()

    def close(self) -> None:
        """Remove the pods that were not taken."""
        self._thread.shutdown(cancel_futures=True)
        for future in self._coming:
            if not future.cancelled() and future.exception() is None:
                future.result().close()


class Links:
    """Numbers the links, so that the n-th pod of a kind has the same addresses in every run."""

    def __init__(self, families: tuple[int, ...]) -> None:
        self._families = families
        self._plain = 0
        self._larger, self._single = _LARGER_FROM, _SINGLE_FROM

    def plain(self) -> tuple[VethLink, ...]:
        """Return the link of the next pod with one link."""
        self._plain += 1
        return (link_of(self._plain, "eth0", self._families, kind=0),)

    def single(self, family: int) -> tuple[VethLink, ...]:
        """Return the link of the next pod with one IP version."""
        self._single += 1
        return (link_of(self._single, "eth0", (family,), kind=0),)

    def larger(self, interface: str) -> tuple[VethLink, ...]:
        """Return the links of the next pod with a second address and a second interface.

        Args:
            interface: The name of the second interface.
        """
        self._larger += 1
        number = self._larger
        primary = link_of(number, "eth0", self._families, kind=0)
        extra = link_of(number, "eth0", self._families, kind=2).addresses
        both = VethLink("eth0", primary.outside, primary.addresses + extra, number)
        return (both, link_of(number, interface, self._families, kind=1))
