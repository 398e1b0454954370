"""The parts of a pod that a check uses: sidecar, packet tap, idle connections, running steps."""

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
        """Forward captured flows for the block, as a proxy does, instead of answering them.

        Args:
            services: Forwarding destinations of outbound flows, by the address that was dialled;
                other flows go to their original destination.
        """
        ...

    def stopped(self) -> AbstractContextManager[None]:
        """Stop the sidecar for the block: its ports are closed."""
        ...


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

    def deliver(self, packet: Packet) -> None:
        """Put a packet on the link, for the pod to receive whatever its addresses are.

        The tap does not see it. Needs FORGED_PACKETS.
        """
        ...
