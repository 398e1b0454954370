"""What a check gets with a pod: its sidecar, the packets on its link, a run under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.packet import Packet


class Sidecar(Protocol):
    """The sidecar of a pod."""

    def forwarding(self, services: Mapping[str, str] = ...) -> AbstractContextManager[None]:
        """Pass captured flows on for the block, as a proxy does, instead of answering them.

        Args:
            services: Addresses to pass outbound flows on to, by the address that was dialled;
                others go where they were going.
        """
        ...

    def stopped(self) -> AbstractContextManager[None]:
        """Have no sidecar for the block: its ports are closed."""
        ...


class Idling(Protocol):
    """Connections that are idle."""

    def over(self) -> Sequence[Connection]:
        """Wait until they have been idle for long enough, and return them.

        That takes seconds where it was a short while ago that they became idle. Those are left out
        that a kernel as it is by default may have forgotten meanwhile.
        """
        ...


class Steps(Protocol):
    """A run of the implementation that is under way."""

    def __iter__(self) -> Iterator[None]:
        """Yield again and again while it runs, at least once before each program it starts."""
        ...

    @property
    def programming(self) -> Programming:
        """How it ended; waits for its end."""
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

    def deliver(self, packet: Packet) -> None:
        """Put a packet on the link, for the pod to receive whatever its addresses are.

        The tap does not see it. Needs FORGED_PACKETS.
        """
        ...
