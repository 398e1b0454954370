"""Measure in rounds: each compares a pod with rules and pods without, one right after the other.

The order of the pods is drawn for each load, and the order of the list sizes for each round, so
that a machine that becomes slower or faster disturbs all alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from pytest_fsmredir.backends.measuring import (
    OF_TRACKED,
    Bench,
    Case,
    Load,
    Metric,
    Pair,
    Side,
    UnmeasuredError,
)

Clock = Callable[[], float]
Watch = Callable[[int, int], None]
"""A callback for each pair of pods: the round, and the entries of the list."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure.

    Attributes:
        entries: Numbers of entries in the list.
        rounds: How many rounds at most.
        seconds: Time after which no further pair of pods is made. One round is made in any case.
        seed: Seed of the orders.
    """

    entries: tuple[int, ...]
    rounds: int
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one round.

    Attributes:
        value: The value in the pod with rules.
        plain: The value in the pod without rules; None where there is nothing to compare.
        tracked: The value in the pod that tracks connections; None where it is not compared.
    """

    value: float
    plain: float | None = None
    tracked: float | None = None


Key = tuple[Metric, Case | None]

TRIES = 3
"""Failures of a load after which it is given up. A busy machine may lose a connection once."""


@dataclass
class Measured:
    """What the rounds of one variant measured.

    Attributes:
        samples: The values of all rounds, by number of entries and by metric and case.
        refused: Why the implementation refused a list, by its number of entries.
        unmeasured: Why a load could not be measured, by number of entries; one reason a failure.
        rounds: The rounds that were made, by number of entries.
    """

    samples: dict[int, dict[Key, list[Sample]]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unmeasured: dict[int, dict[tuple[Load, Case], list[str]]] = field(default_factory=dict)
    rounds: dict[int, int] = field(default_factory=dict)

    def complete(self, asked: Asked) -> bool:
        """Whether all rounds were made: neither the time limit nor the user ended them."""
        return all(
            entries in self.refused or self.rounds.get(entries, 0) == asked.rounds
            for entries in asked.entries
        )

    def add(self, entries: int, key: Key, sample: Sample) -> None:
        """Add a value."""
        self.samples.setdefault(entries, {}).setdefault(key, []).append(sample)


def _silent(_round: int, _entries: int) -> None:
    pass


def measure(
    bench: Bench,
    asked: Asked,
    measured: Measured,
    clock: Clock = monotonic,
    watch: Watch = _silent,
) -> None:
    """Make the rounds of one variant.

    Args:
        bench: Makes the pods.
        asked: What to measure.
        measured: Receives the results, so that they are not lost if the user interrupts.
        clock: The clock of the time limit, in seconds.
        watch: Called before each pair of pods.
    """
    draw = random.Random(asked.seed)  # noqa: S311 - orders, not secrets
    until = clock() + asked.seconds
    for number in range(asked.rounds):
        for entries in draw.sample(asked.entries, len(asked.entries)):
            if number and clock() >= until:
                return
            if entries not in measured.refused:
                watch(number + 1, entries)
                _one(bench, entries, measured, draw)


def _one(bench: Bench, entries: int, measured: Measured, draw: random.Random) -> None:
    try:
        with bench.pair(entries) as pair:
            measured.rounds[entries] = measured.rounds.get(entries, 0) + 1
            for name in (Metric.PROGRAMMING, Metric.MEMORY):
                value = pair.programming_s if name is Metric.PROGRAMMING else pair.memory
                measured.add(entries, (name, None), Sample(value))
            for load, case in pair.loads:
                _compare(pair, entries, (load, case), measured, draw)
    except UnmeasuredError as why:
        measured.refused[entries] = str(why)


def _compare(
    pair: Pair, entries: int, what: tuple[Load, Case], measured: Measured, draw: random.Random
) -> None:
    load, case = what
    missing = measured.unmeasured.setdefault(entries, {})
    sides = [each for each in pair.sides if each is not Side.TRACKED or case in OF_TRACKED]
    order = draw.sample(sides, len(sides))
    if len(missing.get(what, ())) == TRIES:
        return
    found: dict[Side, Mapping[Metric, float]] = {}
    try:
        for side in order:
            found[side] = pair.measure(side, load, case)
    except UnmeasuredError as why:
        missing.setdefault(what, []).append(str(why))
        return
    for metric, value in found[Side.RULES].items():
        tracked = found.get(Side.TRACKED, {}).get(metric)
        sample = Sample(value, found[Side.PLAIN][metric], tracked)
        measured.add(entries, (metric, case), sample)
