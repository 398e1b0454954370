"""What facets return: a packet tap, idle connections, a run in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar, cast

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.packet import Packet
from pytest_fsmredir.traffic.tracing import TracedRule

T = TypeVar("T")


class Memory:
    """What the checks of one run learnt: one object of each kind, made on first use."""

    def __init__(self) -> None:
        self._kept: dict[object, object] = {}

    def of(self, kind: type[T]) -> T:
        """Return the object of a kind."""
        return cast("T", self._kept.setdefault(kind, kind()))


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


class Tracing(Protocol):
    """The kernel's trace of the first packets of flows through the rules of a pod."""

    def rules(self, protocol: int, transport: bytes) -> frozenset[TracedRule] | None:
        """Return the rules that packets matched since the last call.

        None if the kernel dropped reports, because too many waited.

        Args:
            protocol: Only packets of this protocol.
            transport: Only packets whose transport header begins with these bytes, such as the
                source port of TCP and UDP.
        """
        ...

    def inject(self, place: Place, packet: Packet, *, uid: int | None = None) -> None:
        """Send a packet made by hand, to trace one that no socket sends.

        Args:
            place: The place that sends.
            packet: The packet.
            uid: Owner of the socket; an application user (1000) by default in a pod.
        """
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

    def expect_all_unchanged(self, sent: Iterable[tuple[str, Packet]]) -> None:
        """Wait for packets in any order, and compare each like :meth:`expect_unchanged`.

        Other packets that arrived before the last of them are skipped.

        Args:
            sent: A description of each packet, and the packet.

        Raises:
            Unmet: A packet did not arrive in time, or its header differs.
        """
        ...
