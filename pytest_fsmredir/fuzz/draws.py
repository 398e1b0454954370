"""Draw values from a strategy with a seed, and shrink a wanted value."""

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

_ENTROPY = 16 * 1024  # bytes for one value; the largest configuration needs about half

T = TypeVar("T")


class Draws(Generic[T]):
    """Draws values until a wanted one is found, and shrinks it.

    hypothesis draws from the bytes that this class passes. By default it also draws constants from
    the loaded source code, so a seed would yield different values in each project.

    Attributes:
        wanted: The wanted values in the order of the draws; after complete shrinking, the last is
            the smallest.
        drawn: Number of values drawn and judged by :meth:`first`.
    """

    def __init__(
        self,
        strategy: SearchStrategy[T],
        seed: int,
        is_wanted: Callable[[T], bool],
    ) -> None:
        """Prepare the draws.

        Args:
            strategy: What to draw from.
            seed: The seed of the draws.
            is_wanted: Returns the same result for the same value each time; raises :class:`Enough`
                to end the shrinking.
        """
        self.wanted: list[T] = []
        self.drawn = 0
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
        @hypothesis.seed(seed)  # this decorator comes last, because it removes the database
        @hypothesis.given(strategy)
        def draw(value: T) -> None:
            if is_wanted(value):
                self.wanted.append(value)
                raise _Found

        self._draw = draw

    def first(self, count: int, *, without: int = 0) -> int:
        """Draw up to ``count`` values, the simplest first, and return the number of those judged.

        The first wanted value ends the draws.

        Args:
            count: The number of values.
            without: How many of the first ones are left out.
        """
        draw_from = self._draw.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # not typed
        source = random.Random(self._seed)  # noqa: S311 - no secret
        self.drawn = 0
        with suppress(_Found):
            for number in range(count):
                entropy = source.randbytes(_ENTROPY) if number else bytes(_ENTROPY)
                if number >= without:
                    draw_from(entropy)
                    self.drawn += 1
            return self.drawn
        self.drawn += 1
        return self.drawn

    def shrink(self) -> None:
        """Search for smaller wanted values than the one found."""
        with suppress(_Found, Enough), _nothing_kept():
            self._draw()  # hypothesis replays the bytes of the wanted value, and shrinks it


class Enough(BaseException):
    """Ends the shrinking.

    It is not an ``Exception``: hypothesis would treat that as the failure to shrink.
    """


class _Found(Exception):
    """A wanted value was drawn."""


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Make hypothesis store its data about source code in a temporary place for the block."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    with TemporaryDirectory(prefix="fsmredir-") as home:
        configuration.set_hypothesis_home_dir(home)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)
