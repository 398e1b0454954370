"""What facets return: a packet tap, idle connections, a run in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.packet import Packet


class Idling(Protocol):
    """A group of idle connections."""

    def over(self) -> Sequence[Connection]:
        """Wait until the connections have been idle for long enough, and return them.

        This takes some seconds if they became idle recently. Connections that a kernel with
        default settings may already have forgotten are left out.
        """
        ...


class Steps(Protocol):
    """A run of the implementation in progress."""

    def __iter__(self) -> Iterator[None]:
        """Yield repeatedly while it runs, at least once before each program that it starts."""
        ...

    @property
    def programming(self) -> Programming:
        """Wait for the end of the run, and return its result."""
        ...


class Tap(Protocol):
    """The packets on a pod's link, seen from outside the pod."""

    def packets(self) -> list[Packet]:
        """Return what passed since the last call, both directions, in order."""
        ...

    def expect(self, what: str, wanted: Callable[[Packet], bool]) -> Packet:
        """Wait for a packet, passing over the ones before it.

        Args:
            what: The packet in words, for the message.
            wanted: Whether a packet is the one.

        Raises:
            Unmet: No such packet passed in time.
        """
        ...

    def expect_unchanged(self, what: str, sent: Packet) -> None:
        """Wait for a packet that the pod sends, and compare every field of its IP header.

        Args:
            what: The packet in words, for the message.
            sent: The packet.

        Raises:
            Unmet: It did not pass in time, or it passed with another header.
        """
        ...
