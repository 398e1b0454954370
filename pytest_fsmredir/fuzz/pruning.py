"""Shrink a configuration further, item by item.

hypothesis shrinks the draws. It cannot shrink a list that comes from a few draws, such as a run of
ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pytest_fsmredir.model.configuration import Configuration

T = TypeVar("T")


def pruned(
    configuration: Configuration, is_wanted: Callable[[Configuration], bool]
) -> Iterator[Configuration]:
    """Yield wanted configurations, each smaller than the previous one."""
    smaller = next((each for each in prunings(configuration) if is_wanted(each)), None)
    if smaller is not None:
        yield smaller
        yield from pruned(smaller, is_wanted)


def prunings(configuration: Configuration) -> Iterator[Configuration]:
    """Yield the configuration without one list, without half of a list, and without one item."""
    annotations, traffic = configuration.annotations, configuration.traffic
    for key, text in annotations.items():
        rest = {name: each for name, each in annotations.items() if name != key}
        for items in parts([item.strip() for item in text.split(",")]):
            kept = {key: ",".join(items)} if items else {}
            yield Configuration(rest | kept, traffic)
    for key, values in traffic.items():
        others = {name: each for name, each in traffic.items() if name != key}
        for fewer in parts(values):
            yield Configuration(annotations, others | ({key: fewer} if fewer else {}))


def parts(items: Sequence[T]) -> Iterator[list[T]]:
    """Yield the empty list, each half, and the list without each of its items."""
    yield []
    if len(items) > 2:
        middle = len(items) // 2
        yield list(items[:middle])
        yield list(items[middle:])
    if len(items) > 1:
        for position in range(len(items)):
            yield [*items[:position], *items[position + 1 :]]
