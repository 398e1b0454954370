"""Run the benchmark of a plan on network namespaces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from time import monotonic
from typing import Any

from pytest_fsmredir.backends.measuring import Amounts, Bench, Metric
from pytest_fsmredir.config.parsing import NETNS
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.outcomes import Variant
from pytest_fsmredir.suite.backends import benchmark_backend
from pytest_fsmredir.suite.benchmark.document import document, point
from pytest_fsmredir.suite.benchmark.rounds import Asked, Measured, measure
from pytest_fsmredir.suite.plan import Plan

Watch = Callable[[Variant, int, int], None]
"""A callback for each pair of pods: the variant, the round, and the entries of the list."""


class Benchmark:
    """Measures every variant on network namespaces.

    Attributes:
        document: The results so far, as plain values.
        watch: Called before each pair of pods.
    """

    def __init__(self, plan: Plan, amounts: Amounts = Amounts()) -> None:  # noqa: B008 - a constant
        self._plan, self._amounts = plan, amounts
        self._settings = plan.settings
        self._variants = [each for each in plan.variants if each.backend == NETNS]
        self.watch: Watch = lambda _variant, _round, _entries: None
        self.document: dict[str, Any] = {}
        self._points: list[dict[str, Any]] = []
        self._sources: dict[Metric, str] = {}
        self._unavailable: dict[str, str] = {}

    def run(self) -> None:
        """Measure; the results so far stay if the user interrupts.

        Raises:
            BackendError: A pod cannot be made.
        """
        until = monotonic() + self._settings.benchmark_time_s
        try:
            with benchmark_backend(
                self._settings, self._plan.implementation, self._amounts
            ) as bench_of:
                for place, variant in enumerate(self._variants):
                    left = (until - monotonic()) / (len(self._variants) - place)
                    kind = IptablesVariant(variant.iptables)
                    with closing(bench_of(variant.family, kind)) as bench:
                        self._measure(bench, variant, max(left, 0.0))
        finally:
            asked = self._asked(self._settings.benchmark_time_s)
            self.document = document(asked, self._points, self._sources, self._unavailable)

    def _measure(self, bench: Bench, variant: Variant, seconds: float) -> None:
        self._sources |= bench.sources
        asked, measured = self._asked(seconds), Measured()
        try:
            measure(
                bench,
                asked,
                measured,
                watch=lambda number, entries: self.watch(variant, number, entries),
            )
        finally:
            self._unavailable |= bench.unavailable
            name = f"{variant.iptables}/v{variant.family}"
            self._points.append(point(name, asked, measured, bench.resolutions))

    def _asked(self, seconds: float) -> Asked:
        settings: Settings = self._settings
        return Asked(settings.benchmark_entries, settings.benchmark_rounds, seconds, settings.seed)
