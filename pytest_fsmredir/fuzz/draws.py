"""Draw values from a strategy by a seed, and shrink a wanted one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, configuration
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.strategies import SearchStrategy

_ENTROPY = 16 * 1024  # bytes that a value is drawn from; the largest configuration takes about half

T = TypeVar("T")


class Draws(Generic[T]):
    """Draws values until a wanted one is found, and shrinks it.

    hypothesis draws from bytes that are passed to it. By itself it also draws constants from the
    loaded source code, so a seed would give other values in every project.

    Attributes:
        wanted: The wanted ones in the order they were drawn; when shrinking came to its end, the
            last is the smallest.
    """

    def __init__(
        self,
        strategy: SearchStrategy[T],
        seed: int,
        is_wanted: Callable[[T], bool],
    ) -> None:
        """Take what to draw and what to look for.

        Args:
            strategy: What to draw from.
            seed: What the draws follow from.
            is_wanted: Tells the same of the same value each time; raises :class:`Enough` to end
                the shrinking.
        """
        self.wanted: list[T] = []
        self._seed = seed

        @hypothesis.settings(
            database=InMemoryExampleDatabase(),
            deadline=None,
            phases=(Phase.reuse, Phase.shrink),
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @hypothesis.seed(seed)  # this one below, because it takes the database away
        @hypothesis.given(strategy)
        def draw(value: T) -> None:
            if is_wanted(value):
                self.wanted.append(value)
                raise _Found

        self._draw = draw

    def first(self, count: int) -> int:
        """Draw up to a number of values, the simplest first, and return how many.

        The first wanted one ends it.
        """
        draw_from = self._draw.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # not typed
        source = random.Random(self._seed)  # noqa: S311 - no secret
        drawn = 0
        with suppress(_Found):
            for number in range(count):
                entropy = source.randbytes(_ENTROPY) if number else bytes(_ENTROPY)
                drawn += 1
                draw_from(entropy)
        return drawn

    def shrink(self) -> None:
        """Look for smaller wanted values than the one found."""
        with suppress(_Found, Enough), _nothing_kept():
            self._draw()  # hypothesis replays what it was found with, and shrinks it


class Enough(BaseException):
    """No more is to be tried.

    No ``Exception``, which hypothesis would take for the failure that it is to shrink.
    """


class _Found(Exception):
    """A wanted value was drawn."""


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Let hypothesis keep what it learns of source code for the block only, not in a project."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    with TemporaryDirectory(prefix="fsmredir-") as home:
        configuration.set_hypothesis_home_dir(home)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)
