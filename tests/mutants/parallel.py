"""Distribute work over new processes, one mutant at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Task = TypeVar("Task")
T = TypeVar("T")


def spread(work: Callable[[Task], T], tasks: Iterable[Task], jobs: int) -> Iterator[T]:
    """Apply a function to every task, and yield the results in the order of completion.

    The processes are spawned, not forked, because they make threads that enter namespaces.
    """
    every = list(tasks)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(every)) or 1, mp_context=context) as pool:
        for future in as_completed([pool.submit(work, task) for task in every]):
            yield future.result()


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))
