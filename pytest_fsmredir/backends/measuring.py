"""The interface between the benchmark and the backend that makes its pods."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import NamedTuple, Protocol


class Side(StrEnum):
    """The pods of a pair, and the pod that shows what connection tracking alone costs."""

    RULES = "rules"
    PLAIN = "plain"
    TRACKED = "tracked"


class Case(StrEnum):
    """A kind of traffic. In the pod without rules, all of it is direct."""

    CAPTURED = "captured"
    EXCLUDED = "excluded"
    DIRECT = "direct"
    INBOUND = "inbound"
    UDP = "udp"


OF_TRACKED = frozenset({Case.DIRECT, Case.INBOUND, Case.UDP})
"""The cases that are also measured in the pod that tracks connections."""

TRACKING = "beyond tracking"
"""The comparison with that pod."""


class Load(StrEnum):
    """What is sent in one measurement."""

    CONNECTIONS = "connections"
    FIRST_BYTES = "first bytes"
    STREAM = "stream"
    DATAGRAMS = "datagrams"


class Metric(StrEnum):
    """What is measured."""

    CONNECT_P50 = "connect p50"
    CONNECT_P99 = "connect p99"
    RATE = "new connections"
    INSTRUCTIONS = "instructions"
    FIRST_BYTE = "first byte"
    STREAM = "stream"
    DATAGRAMS = "datagrams"
    PROGRAMMING = "programming"
    MEMORY = "rule memory"


class Amounts(NamedTuple):
    """How much one measurement sends.

    Attributes:
        connections: Connections.
        first_bytes: Connections through a real sidecar.
        stream: Bytes of a stream.
        datagrams: Datagrams.
    """

    connections: int = 200
    first_bytes: int = 50
    stream: int = 48 * 1024 * 1024
    datagrams: int = 4000


class UnmeasuredError(Exception):
    """Something could not be measured; the message is the reason, such as another fate."""


class Pair(Protocol):
    """A pod that the implementation has programmed, and pods without its rules.

    Attributes:
        sides: Its pods.
        programming_s: Seconds that the implementation took.
        memory: Bytes of kernel memory that its rules take.
        loads: What can be sent in which case, at these entries.
    """

    sides: tuple[Side, ...]
    programming_s: float
    memory: float
    loads: tuple[tuple[Load, Case], ...]

    def measure(self, side: Side, load: Load, case: Case) -> Mapping[Metric, float]:
        """Send a load in one of the pods, and return what it measures.

        Raises:
            UnmeasuredError: The traffic did not take the path that the case names.
        """
        ...


class Bench(Protocol):
    """Makes pairs of pods for one variant.

    Attributes:
        sources: How metrics are measured that not every machine has, in words, by metric.
        resolutions: The least difference that the measurement of a metric sees, in its unit.
        unavailable: Why a metric or :data:`TRACKING` is not measured on this machine.
    """

    sources: Mapping[Metric, str]
    resolutions: Mapping[Metric, float]
    unavailable: Mapping[str, str]

    def pair(self, entries: int) -> AbstractContextManager[Pair]:
        """Make a pair of pods with a number of entries in the list, and remove it after the block.

        Raises:
            UnmeasuredError: The implementation refused the list.
        """
        ...

    def close(self) -> None:
        """Remove everything that it made."""
        ...
